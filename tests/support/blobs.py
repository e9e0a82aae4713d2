"""A blob store for one test, on a fresh folder or below a fresh prefix of a real bucket, and a plain HTTP client that
puts parts as apps and browsers do."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.applications import Starlette

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.part_tokens import PartTokens
from media_svc.blobs.store import BlobStore, SignedPart
from media_svc.blobs.stores import SCHEMES
from media_svc.uploads.part_routes import PartReceiver
from media_svc.uploads.store import UploadRow, UploadState, UploadStore
from svc_kit.backends import resolve
from svc_kit.clock import SystemClock
from svc_kit.s3.usable import made_bucket
from tests.support.engines import server_url

MEDIA = "http://media.test"
SETTING = "REELGRAPH_BLOBS_URL"
SECRET = b"secret"


@asynccontextmanager
async def blob_url(engine: str, folder: Path) -> AsyncIterator[str]:
    """The URL of a fresh, empty place on `file` or a real server; what a test leaves there is removed."""
    if engine == "file":
        yield f"file://{folder / 'a folder'}".replace(" ", "%20")
        return
    url = server_url(engine)
    url += f"{'&' if '?' in url else '?'}prefix=test-{secrets.token_hex(8)}"
    async with made_bucket(url) as bucket:
        yield url
        while left := await bucket.list(""):
            await bucket.delete([entry.key for entry in left])
        begun = await bucket.call("list_multipart_uploads", Prefix=bucket.address.prefix)
        for upload in begun.get("Uploads", ()):
            await bucket.call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])


@dataclass
class BlobBench:
    """Opens stores of one place; `http` reaches whatever they sign."""

    engine: str
    url: str
    folder: Path
    stack: AsyncExitStack
    http: httpx.AsyncClient = field(init=False)

    async def open(self) -> BlobStore:
        """A store on the place, as a process opens it; the same blobs each time."""
        context = BlobContext(SECRET, lambda: MEDIA, SystemClock(), self.folder / "scratch")
        store: BlobStore = await resolve(SETTING, self.url, SCHEMES).open(self.url, context)
        self.stack.push_async_callback(store.close)
        return store

    async def put(self, part: SignedPart, content: Any, *, length: int | None = None) -> httpx.Response:
        """PUT a part with its headers; `length` when the content is a stream."""
        headers = dict(part.headers) | ({} if length is None else {"Content-Length": str(length)})
        return await self.http.put(part.url, content=content, headers=headers)


@asynccontextmanager
async def blob_bench(engine: str, folder: Path) -> AsyncIterator[BlobBench]:
    """See `BlobBench`."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(blob_url(engine, folder))
        bench = BlobBench(engine, url, folder, stack)
        receiving = Starlette(routes=await _part_routes(bench))
        bench.http = await stack.enter_async_context(
            httpx.AsyncClient(mounts={MEDIA: httpx.ASGITransport(receiving)}, timeout=30)
        )
        yield bench


async def _part_routes(bench: BlobBench) -> Any:
    """Our own part URLs, for a store that has none."""
    store = cast(UploadStore, _EverReceiving())

    async def changed(upload_id: int) -> None:
        return None

    return PartReceiver(PartTokens(SECRET), store, await bench.open(), SystemClock(), changed).routes(("*",))


class _EverReceiving:
    """Knows every handle as an upload that takes parts."""

    async def upload_of_handle(self, handle: str) -> UploadRow:
        numbers = dict.fromkeys(("size_bytes", "part_size_bytes", "set_id", "video_id", "progress_percent"), 1)
        texts = dict.fromkeys(("file_name", "content_type", "sha256", "failure_code", "failure_reason"), "")
        row: dict[str, Any] = {**numbers, **texts, "handle": handle, "part_sha256": ()}
        return UploadRow(id=1, owner_id=1, is_image=False, state=UploadState.RECEIVING, expires_at_ms=1 << 60, **row)
