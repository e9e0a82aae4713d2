"""Likes and shares of videos, and what the viewer wants no more of."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, number_in
from gateway.types.fields import mutation
from gateway.types.video import Video
from reelgraph.feed.v1 import feeds_pb2
from reelgraph.graph.v1 import engagement_pb2
from svc_kit.errors import not_found


@strawberry.enum(description="How a video was shared. More may come.")
class ShareChannel(Enum):
    """`reelgraph.graph.v1.ShareChannel`."""

    LINK = strawberry.enum_value("LINK", description="By a copied link.")
    MESSAGE = strawberry.enum_value("MESSAGE", description="By a message.")
    EMAIL = strawberry.enum_value("EMAIL", description="By e-mail.")
    QR = strawberry.enum_value("QR", description="By a QR code.")
    OTHER = strawberry.enum_value("OTHER", description="Otherwise.")


@strawberry.input(description="A video.")
class VideoInput(KeyedInput):
    """Never in the schema itself."""

    video_id: strawberry.ID = strawberry.field(description="The video.")


@strawberry.input(description="Input of likeVideo.")
class LikeVideoInput(VideoInput):
    """What to like."""


@strawberry.input(description="Input of unlikeVideo.")
class UnlikeVideoInput(VideoInput):
    """What to like no longer."""


@strawberry.input(description="Input of markNotInterested.")
class MarkNotInterestedInput(VideoInput):
    """What to show no more."""


@strawberry.input(description="Input of shareVideo. Without an idempotency key each call counts.")
class ShareVideoInput(VideoInput):
    """What is shared, and how."""

    channel: ShareChannel = strawberry.field(description="How.")


@strawberry.type(description="A video after a change.")
class VideoPayload(Payload):
    """Never in the schema itself."""

    video: Video | None = strawberry.field(default=None, description="The video, its numbers with this change.")


@strawberry.type(description="Answer of likeVideo.")
class LikeVideoPayload(VideoPayload):
    """The video, liked."""


@strawberry.type(description="Answer of unlikeVideo.")
class UnlikeVideoPayload(VideoPayload):
    """The video, no longer liked."""


@strawberry.type(description="Answer of markNotInterested.")
class MarkNotInterestedPayload(VideoPayload):
    """The video."""


@strawberry.type(description="Answer of shareVideo.")
class ShareVideoPayload(VideoPayload):
    """The video, and where the share leads."""

    share_url: str | None = strawberry.field(default=None, description="The link to give away.")


@strawberry.type
class LikeMutations:
    """Answers show the numbers as the command gave them."""

    @mutation("Likes a video. Liking again changes nothing.")
    @answers(LikeVideoPayload)
    async def like_video(self, info: Info, input: LikeVideoInput) -> LikeVideoPayload:
        number = number_in(ids.Kind.VIDEO, input.video_id, "video_id")
        answer: engagement_pb2.LikeVideoResponse = await info.context.rpc(
            info.context.clients.engagement.LikeVideo,
            engagement_pb2.LikeVideoRequest(video_id=number, idempotency_key=input.key()),
        )
        return await _changed(info, number, answer.engagement, LikeVideoPayload())

    @mutation("Takes a like back. None there: nothing changes.")
    @answers(UnlikeVideoPayload)
    async def unlike_video(self, info: Info, input: UnlikeVideoInput) -> UnlikeVideoPayload:
        number = number_in(ids.Kind.VIDEO, input.video_id, "video_id")
        answer: engagement_pb2.UnlikeVideoResponse = await info.context.rpc(
            info.context.clients.engagement.UnlikeVideo,
            engagement_pb2.UnlikeVideoRequest(video_id=number, idempotency_key=input.key()),
        )
        return await _changed(info, number, answer.engagement, UnlikeVideoPayload())

    @mutation("Counts a share and answers the link to give away.")
    @answers(ShareVideoPayload)
    async def share_video(self, info: Info, input: ShareVideoInput) -> ShareVideoPayload:
        number = number_in(ids.Kind.VIDEO, input.video_id, "video_id")
        request = engagement_pb2.ShareVideoRequest(
            video_id=number,
            channel=f"SHARE_CHANNEL_{input.channel.name}",
            idempotency_key=input.key(),
        )
        answer: engagement_pb2.ShareVideoResponse = await info.context.rpc(
            info.context.clients.engagement.ShareVideo, request
        )
        payload = await _changed(info, number, answer.engagement, ShareVideoPayload())
        payload.share_url = f"{info.context.public_url}/w/{input.video_id}"
        return payload

    @mutation("Wants no more of this: the video is not shown again, and its like less.")
    @answers(MarkNotInterestedPayload)
    async def mark_not_interested(self, info: Info, input: MarkNotInterestedInput) -> MarkNotInterestedPayload:
        number = number_in(ids.Kind.VIDEO, input.video_id, "video_id")
        request = feeds_pb2.MarkNotInterestedRequest(video_id=number, idempotency_key=input.key())
        await info.context.rpc(info.context.clients.feeds.MarkNotInterested, request)
        return MarkNotInterestedPayload(video=await info.context.loaders.videos.load(number))


T = TypeVar("T", bound=VideoPayload)


async def _changed(info: Info, number: int, engagement: engagement_pb2.VideoEngagement, payload: T) -> T:
    info.context.loaders.engagement.prime(number, engagement)
    payload.video = await info.context.loaders.videos.load(number)
    if payload.video is None:
        raise not_found("video_id", "video")
    return payload
