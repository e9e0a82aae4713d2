"""Names in URLs are rows of the service's relational database."""

SCHEMES = dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql"), "media_svc.delivery.stores.sql")
