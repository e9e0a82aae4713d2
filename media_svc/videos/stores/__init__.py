"""Videos lie in the service's relational database; relations are asked of graph_svc (`rpc.py`)."""

SCHEMES = dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql"), "media_svc.videos.stores.sql")
