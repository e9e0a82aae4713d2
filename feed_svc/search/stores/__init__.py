"""Adapters by URL scheme of `REELGRAPH_SEARCH_URL`; each has `async def open(url, turn)`."""

SEARCH_SCHEMES = {
    "tantivy": "feed_svc.search.stores.tantivy",
    "file": "feed_svc.search.stores.tantivy",
    "meilisearch": "feed_svc.search.stores.meilisearch",
    "meilisearch+https": "feed_svc.search.stores.meilisearch",
}
