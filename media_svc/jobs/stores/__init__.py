"""The job queue lies in the service's relational database."""

SCHEMES = dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql"), "media_svc.jobs.stores.sql")
