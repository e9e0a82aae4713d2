"""Adapters of the feature ports, by URL scheme of the wide-row engine; embedded: SQL."""

SCHEMES = {
    "sqlite": "rank_svc.features.stores.sql",
    "postgresql": "rank_svc.features.stores.sql",
    "postgres": "rank_svc.features.stores.sql",
    "mysql": "rank_svc.features.stores.sql",
}
"""URL scheme -> adapter module, for `svc_kit.backends.resolve`. Each has `open(db) -> SqlFeatureStore`."""
