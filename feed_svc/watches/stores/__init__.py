"""Adapters of watches: the log is in the service's relational database, histories follow `REELGRAPH_WIDE_URL` by its
scheme; without one they are in the service's database too."""

HISTORY_SCHEMES = {
    "cassandra": "feed_svc.watches.stores.cassandra",
    "cassandra+ssl": "feed_svc.watches.stores.cassandra",
    "sqlite": "feed_svc.watches.stores.sql_history",
    "postgresql": "feed_svc.watches.stores.sql_history",
    "mysql": "feed_svc.watches.stores.sql_history",
}
