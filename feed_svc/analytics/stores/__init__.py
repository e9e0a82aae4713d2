"""Adapters by URL scheme of the archive; each has `async def open(url)`."""

from svc_kit.settings import PlatformSettings

ARCHIVE_SCHEMES = {"file": "feed_svc.analytics.stores.parquet", "s3": "feed_svc.analytics.stores.s3"}
ARCHIVE_SETTING = "REELGRAPH_FEED_ARCHIVE_URL"


def archive_url(own: str, settings: PlatformSettings) -> str:
    """Where the archive lies: at `own`, the setting; else with the blobs, below `events/`; else in the data folder."""
    return own or settings.blobs_url or f"file://{settings.data_dir.resolve() / 'archive'}"
