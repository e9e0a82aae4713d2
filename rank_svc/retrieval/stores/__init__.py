"""Adapters of vector search, by URL scheme of `REELGRAPH_VECTORS_URL`."""

SCHEMES = {"memory": "rank_svc.retrieval.stores.memory"}
"""URL scheme -> adapter module. Each has `async def open(url, dimensions, threads) -> VectorIndex`."""
