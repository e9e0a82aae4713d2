"""What graph_svc asks of others, answered by real servers from a test's own tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from reelgraph.graph.v1 import engagement_pb2, engagement_pb2_grpc
from reelgraph.media.v1 import uploads_pb2, uploads_pb2_grpc, videos_pb2, videos_pb2_grpc
from svc_kit.auth import Authenticator
from svc_kit.caller import current_caller
from svc_kit.errors import not_found, unavailable
from svc_kit.rpc.server import Context, Servicer
from svc_kit.service import Service
from tests.support.platform import BenchPlatform, serve


class _Unfaked:
    """Methods that a test does not need."""

    def __getattr__(self, name: str) -> Any:
        return self._unasked

    async def _unasked(self, request: object, context: Context) -> NoReturn:
        raise unavailable("This is not faked.")


class FakeMedia(_Unfaked):
    """Avatars by (viewer, upload), and the ids of videos that everybody may see."""

    def __init__(self) -> None:
        self.avatars: dict[tuple[int, int], str] = {}
        self.visible: set[int] = set()

    async def ClaimAvatar(
        self, request: uploads_pb2.ClaimAvatarRequest, context: Context
    ) -> uploads_pb2.ClaimAvatarResponse:
        url = self.avatars.get((current_caller().viewer(), request.upload_id))
        if url is None:
            raise not_found("upload_id", "upload")
        return uploads_pb2.ClaimAvatarResponse(avatar_url=url)

    async def BatchGetVideos(
        self, request: videos_pb2.BatchGetVideosRequest, context: Context
    ) -> videos_pb2.BatchGetVideosResponse:
        found = [videos_pb2.Video(id=video_id) for video_id in request.ids if video_id in self.visible]
        return videos_pb2.BatchGetVideosResponse(videos=found)


class FakeComments(_Unfaked):
    """Comments that everybody may see."""

    def __init__(self, visible: set[int]) -> None:
        self._visible = visible

    async def BatchGetComments(
        self, request: engagement_pb2.BatchGetCommentsRequest, context: Context
    ) -> engagement_pb2.BatchGetCommentsResponse:
        found = [engagement_pb2.Comment(id=comment_id) for comment_id in request.ids if comment_id in self._visible]
        return engagement_pb2.BatchGetCommentsResponse(comments=found)


def fake_comments(visible: set[int]) -> Servicer:
    """An EngagementService that knows these comments, for a service `graph` that lacks the real one."""
    descriptor = engagement_pb2.DESCRIPTOR.services_by_name["EngagementService"]
    add = engagement_pb2_grpc.add_EngagementServiceServicer_to_server
    return Servicer(descriptor, FakeComments(visible), add)


@asynccontextmanager
async def fake_media(platform: BenchPlatform, authenticator: Authenticator | None = None) -> AsyncIterator[FakeMedia]:
    """A `FakeMedia` served where `platform.channels.media` looks for it."""
    fake = FakeMedia()
    services = (
        (uploads_pb2, "UploadService", uploads_pb2_grpc.add_UploadServiceServicer_to_server),
        (videos_pb2, "VideoService", videos_pb2_grpc.add_VideoServiceServicer_to_server),
    )
    servicers = [Servicer(pb.DESCRIPTOR.services_by_name[name], fake, add) for pb, name, add in services]
    async with serve(Service("media", servicers), authenticator or platform.tokens.authenticator, platform.sockets):
        yield fake
