"""Adapters by URL scheme of the archive; each has `async def open(url)`."""

ARCHIVE_SCHEMES = {"file": "feed_svc.analytics.stores.parquet"}
