"""Adapters by URL scheme of `REELGRAPH_SEARCH_URL`; each has `async def open(url)`."""

SEARCH_SCHEMES = {
    "tantivy": "feed_svc.search.stores.tantivy",
    "file": "feed_svc.search.stores.tantivy",
}
