"""Adapters of the feeds: snapshots and seen sets follow `REELGRAPH_CACHE_URL`, the rest the service's database."""
