"""Adapters of the blob store by URL scheme.

Each module has `async def open(url, context) -> BlobStore`.
"""

SCHEMES = {"file": "media_svc.blobs.stores.local", "s3": "media_svc.blobs.stores.s3"}
