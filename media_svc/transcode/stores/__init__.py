"""Media sets lie in the service's relational database."""

SCHEMES = dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql"), "media_svc.transcode.stores.sql")
