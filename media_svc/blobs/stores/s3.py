"""Blobs in a bucket of the S3 API; the URL is explained in `svc_kit/s3/address.py`.

Parts go straight from the client to the store. A blob is one object, a handle one multipart upload.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.store import BlobStat, BlobStore, NoSuchBlob, NoSuchParts, PartStat, SignedPart, is_key
from media_svc.blobs.stores import s3_upkeep
from media_svc.blobs.stores.s3_files import Scratch, gathered, read_slice
from media_svc.blobs.stores.s3_parts import LEAST_PART_BYTES, S3Parts, parse_handle
from media_svc.blobs.stores.s3_urls import S3Urls
from svc_kit.clock import now_ms
from svc_kit.errors import AppError
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import PAGE, Bucket, S3Object, S3Refused, open_bucket
from svc_kit.s3.usable import verify as verify

PIECE_BYTES = 8 << 20
"""Larger files are put in pieces of this size."""
TRANSFERS = 8
"""Pieces in memory at a time."""

migrate = s3_upkeep.migrate


async def open(url: str, context: BlobContext) -> BlobStore:
    """The bucket of `url`; it is not asked for anything yet."""
    bucket = await open_bucket(parse_address(url))
    scratch = Scratch(context.scratch)
    await asyncio.to_thread(scratch.prepare)
    return S3BlobStore(bucket, scratch, context)


class S3BlobStore:
    """See `BlobStore`."""

    def __init__(self, bucket: Bucket, scratch: Scratch, context: BlobContext) -> None:
        self._bucket = bucket
        self._parts = S3Parts(bucket)
        self._urls = S3Urls(bucket, context.clock)
        self._scratch = scratch
        self._clock = context.clock
        self._transfers = asyncio.Semaphore(TRANSFERS)

    # Parts

    @property
    def least_part_bytes(self) -> int:
        return LEAST_PART_BYTES

    async def begin_parts(self, key: str, *, with_digests: bool = False) -> str:
        return await self._parts.begin(_checked(key), with_digests=with_digests)

    async def sign_part(self, handle: str, number: int, size_bytes: int, sha256: str, expires_at_ms: int) -> SignedPart:
        upload = parse_handle(handle)
        if upload is None:
            raise NoSuchParts(handle)
        return await self._urls.put_part(upload.key, upload.id, number, size_bytes, sha256, expires_at_ms)

    async def put_part(
        self, handle: str, number: int, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str = ""
    ) -> str:
        if parse_handle(handle) is None:
            raise NoSuchParts(handle)
        async with gathered(chunks, size_bytes, sha256) as (file, digest):
            await self._parts.put(handle, number, file, size_bytes, sha256)
        return digest

    async def list_parts(self, handle: str) -> Sequence[PartStat]:
        return await self._parts.stats(handle)

    async def join_parts(self, handle: str, key: str, count: int) -> BlobStat:
        return await self._parts.join(handle, _checked(key), count)

    async def drop_parts(self, handle: str) -> None:
        await self._parts.drop(handle)

    async def abandoned_parts(self, begun_before_ms: int) -> Sequence[str]:
        return await self._parts.abandoned(begun_before_ms)

    # Blobs

    async def put_file(self, key: str, path: Path) -> BlobStat:
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        if size_bytes > PIECE_BYTES:
            return await self._put_in_pieces(_checked(key), path, size_bytes)
        async with self._transfers:
            return await self.put_bytes(key, await asyncio.to_thread(read_slice, path, 0, size_bytes))

    async def put_bytes(self, key: str, data: bytes) -> BlobStat:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        etag = await self._bucket.put(_checked(key), data, digest)
        return BlobStat(key, len(data), etag, now_ms(self._clock))

    async def _put_in_pieces(self, key: str, path: Path, size_bytes: int) -> BlobStat:
        handle = await self._parts.begin(key, with_digests=True)
        count = -(-size_bytes // PIECE_BYTES)

        async def put(number: int) -> None:
            async with self._transfers:
                data = await asyncio.to_thread(read_slice, path, (number - 1) * PIECE_BYTES, PIECE_BYTES)
                digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
                await self._parts.put(handle, number, data, len(data), digest)

        joined = False
        try:
            async with asyncio.TaskGroup() as pieces:
                for number in range(1, count + 1):
                    pieces.create_task(put(number))
            stat = await self._parts.join(handle, key, count)
            joined = True
        except* (AppError, NoSuchParts, OSError) as failed:
            # All pieces fail alike when the store does; one error says it.
            raise failed.exceptions[0] from failed
        finally:
            if not joined:
                with suppress(AppError):
                    await self._parts.drop(handle)
        return stat

    async def stat(self, key: str) -> BlobStat | None:
        found = await self._bucket.head(key) if is_key(key) else None
        return None if found is None else _stat(found)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._bucket.read(_checked(key), start, length)) as pieces:
                async for piece in pieces:
                    yield piece
        except S3Refused as refused:
            if refused.is_missing:
                raise NoSuchBlob(key) from None
            raise

    async def sign_read(self, key: str, media_type: str, lasting_s: int) -> str:
        return await self._urls.get(_checked(key), media_type, lasting_s)

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        stat = await self.stat(key)
        if stat is None:
            raise NoSuchBlob(key)
        async with aclosing(self.read(key)) as pieces, self._scratch.copy(stat.size_bytes, pieces) as path:
            yield path

    async def delete(self, key: str) -> None:
        await self._bucket.delete([_checked(key)])

    async def delete_prefix(self, prefix: str) -> None:
        _checked(prefix.rstrip("/"))
        while found := await self._bucket.list(prefix, limit=PAGE):
            await self._bucket.delete([entry.key for entry in found])

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[BlobStat]:
        _checked(prefix.rstrip("/"))
        return [_stat(entry) for entry in await self._bucket.list(prefix, after, limit)]

    async def close(self) -> None:
        await self._bucket.close()


def _stat(found: S3Object) -> BlobStat:
    return BlobStat(found.key, found.size_bytes, found.etag, found.modified_at_ms)


def _checked(key: str) -> str:
    if not is_key(key):
        raise ValueError(f"{key!r} is no key of a blob")
    return key
