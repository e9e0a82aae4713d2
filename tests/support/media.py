"""media_svc for one test: the whole service with real files and real ffmpeg, a graph_svc that knows what it is told,
real gRPC, and HTTP either in process or on a socket."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from media_svc.build import build
from media_svc.schema import metadata
from media_svc.settings import MediaSettings
from reelgraph.graph.v1 import follows_pb2, follows_pb2_grpc
from reelgraph.media.v1.uploads_pb2 import (
    BatchGetUploadsRequest,
    BeginUploadRequest,
    CompleteUploadRequest,
    StreamUploadRequest,
    Upload,
    UploadPart,
    UploadState,
)
from reelgraph.media.v1.uploads_pb2_grpc import UploadServiceStub
from reelgraph.media.v1.videos_pb2 import BatchGetVideosRequest, PublishVideoRequest, Video
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller, current_caller
from svc_kit.clock import Clock, SystemClock
from svc_kit.errors import AppError
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.support.platform import BenchPlatform, create_tables, running, test_platform

POLL_S = 0.02
FINAL = (UploadState.UPLOAD_STATE_READY, UploadState.UPLOAD_STATE_FAILED, UploadState.UPLOAD_STATE_ABORTED)


@dataclass
class FakeFollows(follows_pb2_grpc.FollowServiceServicer):
    """A graph_svc that knows only who follows and who blocks whom. `calls`: the author ids of each call."""

    follows: set[tuple[int, int]] = field(default_factory=set)
    blocks: set[tuple[int, int]] = field(default_factory=set)
    calls: list[list[int]] = field(default_factory=list)
    down: AppError | None = None

    async def BatchGetRelations(
        self, request: follows_pb2.BatchGetRelationsRequest, context: Any
    ) -> follows_pb2.BatchGetRelationsResponse:
        if self.down is not None:
            raise self.down
        viewer = current_caller().viewer()
        self.calls.append(list(request.user_ids))
        return follows_pb2.BatchGetRelationsResponse(
            relations=[
                follows_pb2.Relation(
                    user_id=other,
                    follows=(viewer, other) in self.follows,
                    followed_by=(other, viewer) in self.follows,
                    blocks=(viewer, other) in self.blocks,
                    blocked_by=(other, viewer) in self.blocks,
                )
                for other in request.user_ids
            ]
        )

    def service(self) -> Service:
        descriptor = follows_pb2.DESCRIPTOR.services_by_name["FollowService"]
        return Service("graph", [Servicer(descriptor, self, follows_pb2_grpc.add_FollowServiceServicer_to_server)])


class MediaBench:
    """What a test does with the service. Users are numbers; 0 is nobody."""

    def __init__(self, platform: BenchPlatform, service: Service, channel: Any, follows: FakeFollows) -> None:
        self.platform = platform
        self.service = service
        self.follows = follows
        self.uploads = UploadServiceStub(channel)
        self.videos = VideoServiceStub(channel)
        self.app = Starlette(routes=list(service.http_routes))
        # What media_svc answers in process; what a blob store answers itself, over the network.
        own = {"http://media.test": httpx.ASGITransport(self.app)}
        self.http = httpx.AsyncClient(mounts=own, base_url="http://media.test", timeout=30)

    def caller(self, user: int) -> Caller:
        return self.platform.tokens.viewer(user) if user else Caller()

    async def call(self, method: Any, request: Any, user: int = 0) -> Any:
        return await self.platform.peer.call(method, request, self.caller(user))

    async def begin(self, user: int, data: bytes, content_type: str = "video/mp4", **fields: Any) -> Upload:
        request = BeginUploadRequest(
            file_name="clip.mp4",
            content_type=content_type,
            size_bytes=fields.pop("size_bytes", len(data)),
            sha256=fields.pop("sha256", hashlib.sha256(data).hexdigest()),
            **fields,
        )
        return _uploaded(await self.call(self.uploads.BeginUpload, request, user))

    async def put(self, part: UploadPart, data: bytes, http: httpx.AsyncClient | None = None) -> httpx.Response:
        headers = {header.name: header.value for header in part.headers}
        return await (http or self.http).put(part.url, content=data, headers=headers)

    async def send(self, upload: Upload, data: bytes, numbers: Sequence[int] = ()) -> None:
        """Put parts (all by default), one after the other."""
        for part in upload.parts:
            if not numbers or part.number in numbers:
                start = (part.number - 1) * upload.part_size_bytes
                answer = await self.put(part, data[start : start + part.size_bytes])
                assert answer.is_success and answer.headers["etag"], answer.text

    async def complete(self, user: int, upload: Upload) -> Upload:
        return _uploaded(await self.call(self.uploads.CompleteUpload, CompleteUploadRequest(upload_id=upload.id), user))

    async def get(self, user: int, upload_id: int) -> Upload:
        found = await self.call(self.uploads.BatchGetUploads, BatchGetUploadsRequest(ids=[upload_id]), user)
        return _uploaded(found.uploads[0])

    async def states(self, user: int, upload_id: int) -> list[Upload]:
        """Every state that StreamUpload tells, until the last."""
        stream = self.platform.peer.stream(
            self.uploads.StreamUpload, StreamUploadRequest(upload_id=upload_id), self.caller(user)
        )
        async with asyncio.timeout(60):
            return [_uploaded(message) async for message in stream]

    async def upload(self, user: int, data: bytes, content_type: str = "video/mp4") -> Upload:
        """A whole upload, to its final state."""
        upload = await self.begin(user, data, content_type)
        if upload.state not in FINAL:
            await self.send(upload, data)
            await self.complete(user, upload)
        return (await self.states(user, upload.id))[-1]

    async def publish(self, user: int, upload_id: int, **fields: Any) -> Video:
        request = PublishVideoRequest(upload_id=upload_id, **fields)
        video: Video = (await self.call(self.videos.PublishVideo, request, user)).video
        return video

    async def seen(self, user: int, *video_ids: int) -> list[Video]:
        """What a viewer sees of some videos, with playback."""
        request = BatchGetVideosRequest(ids=video_ids, with_playback=True)
        return list((await self.call(self.videos.BatchGetVideos, request, user)).videos)


def _uploaded(message: Any) -> Upload:
    upload: Upload = getattr(message, "upload", message)
    return upload


@asynccontextmanager
async def media_bench(
    folder: Path,
    *,
    clock: Clock | None = None,
    work: bool = True,
    blobs_url: str = "",
    db_url: str = "",
    **settings: Any,
) -> AsyncIterator[MediaBench]:
    """The service on `folder`; the same folder again is the same service after a restart. `work`: run its workers.
    `db_url`: the platform's database, SQLite unless given."""
    chosen = MediaSettings(**{"transcodes": 2, "job_poll_s": 0.05, "job_backoff_s": 0.01, **settings})
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(
            test_platform(folder, clock=clock or SystemClock(), blobs_url=blobs_url, db_url=db_url)
        )
        await create_tables(platform, "media", metadata)
        follows = FakeFollows()  # type: ignore[abstract]  # only what media_svc asks
        await stack.enter_async_context(platform.serve(follows.service()))
        service = await build(platform, stack, chosen)
        channel = await stack.enter_async_context(platform.serve(service))
        bench = MediaBench(platform, service, channel, follows)
        await stack.enter_async_context(bench.http)
        if work:
            await stack.enter_async_context(running(service))
        yield bench


@asynccontextmanager
async def on_socket(bench: MediaBench) -> AsyncIterator[str]:
    """Serve the HTTP side on a loopback port; yields its URL."""
    config = uvicorn.Config(bench.app, host="127.0.0.1", port=0, log_level="error", lifespan="off", http="httptools")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Return once `condition` holds; fails the test when it does not in time."""
    for _ in range(round(seconds / POLL_S)):
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError("it did not come about in time")


def make_clip(ffmpeg: Path, path: Path, seconds: float = 1.0, size: str = "180x320", hue: int = 0) -> bytes:
    """A small moving picture with a tone; other `hue`, other bytes."""
    picture = f"testsrc2=s={size}:r=15:d={seconds},hue=h={hue}"
    command = [str(ffmpeg), "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture]
    command += ["-f", "lavfi", "-i", f"sine={440 + hue}:d={seconds}", "-c:a", "aac", "-b:a", "64k"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path.read_bytes()
