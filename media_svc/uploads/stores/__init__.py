"""Uploads lie in the service's relational database."""

SCHEMES = dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql"), "media_svc.uploads.stores.sql")
