"""The archive's files in a bucket of the S3 API, beside the blobs or in one of their own; the URL is explained in
`svc_kit/s3/address.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feed_svc.analytics.stores.parts import PartedArchive, Threads
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import PAGE, Bucket, open_bucket
from svc_kit.s3.usable import made_bucket
from svc_kit.s3.usable import verify as verify

_EVENTS = "events/"


async def open(url: str) -> PartedArchive:
    """The archive in the bucket of `url`; it is not asked for anything yet."""
    threads = Threads()
    return PartedArchive(BucketFiles(await open_bucket(parse_address(url)), threads), threads)


async def migrate(url: str) -> str:
    """Make the bucket where it is missing. Raises `EngineUnusable`."""
    async with made_bucket(url) as bucket:
        return f"S3 bucket {bucket.address.shown}"


class BucketFiles:
    """See `PartFiles`. A file is as large as what the archive worker gathers at a time, so it is read whole."""

    def __init__(self, bucket: Bucket, threads: Threads) -> None:
        self._bucket = bucket
        self._threads = threads

    async def topics(self, day: date) -> Sequence[str]:
        folders = await self._bucket.folders(f"{_EVENTS}date={day.isoformat()}/")
        return [name.partition("=")[2] for name in folders]

    async def names(self, folder: str) -> Sequence[str]:
        prefix = f"{_EVENTS}{folder}/"
        names: list[str] = []
        while page := await self._bucket.list(prefix, f"{prefix}{names[-1]}" if names else "", PAGE):
            names += [found.key.removeprefix(prefix) for found in page]
        return names

    async def load(self, folder: str, name: str) -> Any:
        pieces = [piece async for piece in self._bucket.read(f"{_EVENTS}{folder}/{name}")]
        return pa.BufferReader(b"".join(pieces))

    async def write(self, folder: str, name: str, table: pa.Table) -> None:
        def encode() -> tuple[bytes, bytes]:
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            data = sink.getvalue().to_pybytes()
            return data, hashlib.sha256(data).digest()

        data, digest = await self._threads.run(encode)
        await self._bucket.put(f"{_EVENTS}{folder}/{name}", data, digest)

    async def check(self) -> None:
        await self._bucket.list(_EVENTS, limit=1)

    async def close(self) -> None:
        await self._bucket.close()
