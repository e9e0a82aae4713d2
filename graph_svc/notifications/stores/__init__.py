"""Adapters of the notification log by the scheme of `REELGRAPH_WIDE_URL`; without one it lives in the service's own
database."""

SCHEMES = {
    "cassandra": "graph_svc.notifications.stores.cassandra",
    "cassandra+ssl": "graph_svc.notifications.stores.cassandra",
    "sqlite": "graph_svc.notifications.stores.sql_log",
    "postgresql": "graph_svc.notifications.stores.sql_log",
    "postgres": "graph_svc.notifications.stores.sql_log",
    "mysql": "graph_svc.notifications.stores.sql_log",
}
