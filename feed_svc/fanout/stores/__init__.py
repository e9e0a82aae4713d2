"""Adapters by URL scheme: inboxes follow `REELGRAPH_CACHE_URL`, author timelines `REELGRAPH_WIDE_URL`, the rest the
service's database."""

TIMELINE_SCHEMES = {
    "cassandra": "feed_svc.fanout.stores.cassandra",
    "cassandra+ssl": "feed_svc.fanout.stores.cassandra",
    "sqlite": "feed_svc.fanout.stores.sql",
    "postgresql": "feed_svc.fanout.stores.sql",
    "mysql": "feed_svc.fanout.stores.sql",
}
