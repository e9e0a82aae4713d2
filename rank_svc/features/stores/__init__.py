"""Adapters of features: counts and rates are in the service's own database, histories of viewers follow
`REELGRAPH_WIDE_URL` by its scheme; without one they are in the service's database too."""

SCHEMES = {
    "cassandra": "rank_svc.features.stores.cassandra",
    "cassandra+ssl": "rank_svc.features.stores.cassandra",
    "sqlite": "rank_svc.features.stores.sql_history",
    "postgresql": "rank_svc.features.stores.sql_history",
    "postgres": "rank_svc.features.stores.sql_history",
    "mysql": "rank_svc.features.stores.sql_history",
}
"""URL scheme -> adapter module, for `svc_kit.backends.resolve`."""
