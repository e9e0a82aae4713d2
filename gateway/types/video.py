"""Videos and how to play them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.ready import pick, same
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.page import After, Connection, First, page_size
from gateway.types.refs import CommentRef, UserRef
from gateway.types.scalars import SafeInt, count, moment
from reelgraph.media.v1 import videos_pb2


@strawberry.enum(description="Where a video stands. More may come.")
class VideoState(Enum):
    """`reelgraph.media.v1.VideoState`."""

    PROCESSING = strawberry.enum_value("PROCESSING", description="Its upload is not READY yet.")
    READY = strawberry.enum_value("READY", description="It can be played.")
    FAILED = strawberry.enum_value("FAILED", description="Its upload failed; `failureReason` says why.")
    REMOVED = strawberry.enum_value("REMOVED", description="A moderator took it down.")


@strawberry.enum(description="Who may see a video. Its author always may; somebody in a block with the author never.")
class Visibility(Enum):
    """`reelgraph.media.v1.Visibility`."""

    PUBLIC = strawberry.enum_value("PUBLIC", description="Everybody; also in search, trending and For You.")
    FOLLOWERS = strawberry.enum_value("FOLLOWERS", description="The author's followers.")
    PRIVATE = strawberry.enum_value("PRIVATE", description="The author alone.")


@strawberry.type(description="One encoding of a video.")
class Rendition:
    """Sizes in pixels."""

    width: int = strawberry.field(description="Width in pixels.")
    height: int = strawberry.field(description="Height in pixels.")
    codec: str = strawberry.field(description="RFC 6381 codec string, such as `avc1.64001f`.")
    bitrate_kbps: int = strawberry.field(description="Measured average, in kilobits a second.")


@strawberry.type(description="How to play a video. The URLs are absolute, signed and expire.")
class Playback:
    """Signed by media_svc."""

    hls_url: str = strawberry.field(description="Multivariant HLS playlist (RFC 8216).")
    poster_url: str = strawberry.field(description="A JPEG to show before the first frame.")
    still_urls: list[str] = strawberry.field(description="JPEGs from a quarter, half and three quarters of the video.")
    expires_at: datetime = strawberry.field(description="When the URLs end; ask again for fresh ones.")
    renditions: list[Rendition] = strawberry.field(description="The encodings, largest first.")

    @classmethod
    def of(cls, playback: videos_pb2.Playback) -> Playback:
        """From its message."""
        return cls(
            hls_url=playback.hls_url,
            poster_url=playback.poster_url,
            still_urls=list(playback.still_urls),
            expires_at=moment(playback.expires_at),
            renditions=[
                Rendition(width=r.width, height=r.height, codec=r.codec, bitrate_kbps=r.bitrate_kbps)
                for r in playback.renditions
            ],
        )


@strawberry.type(description="A short video.")
class Video(Node):
    """A video that the viewer may see: VideoService answered it."""

    number: strawberry.Private[int]
    author_number: strawberry.Private[int]
    signed: strawberry.Private[Playback | None]
    caption: str = strawberry.field(description="As its author wrote it; may be empty.")
    hashtags: list[str] = strawberry.field(description="Normalised hashtags of the caption, without `#`, in order.")
    state: VideoState = strawberry.field(description="Where it stands.")
    failure_reason: str | None = strawberry.field(description="For a person; null unless FAILED or REMOVED.")
    visibility: Visibility = strawberry.field(description="Who may see it.")
    allow_comments: bool = strawberry.field(description="Whether comments may be written.")
    created_at: datetime = strawberry.field(description="When it was published.")
    duration_ms: int | None = strawberry.field(description="Length in milliseconds; null until READY.")
    width: int | None = strawberry.field(description="Upright width in pixels; null until READY.")
    height: int | None = strawberry.field(description="Upright height in pixels; null until READY.")
    has_audio: bool | None = strawberry.field(description="Whether it has sound; null until READY.")

    @classmethod
    def of(cls, video: videos_pb2.Video) -> Video:
        """From its message."""
        ready = video.state == videos_pb2.VIDEO_STATE_READY
        return cls(
            id=ids.encode(ids.Kind.VIDEO, video.id),
            number=video.id,
            author_number=video.author_id,
            signed=Playback.of(video.playback) if video.HasField("playback") else None,
            caption=video.caption,
            hashtags=list(video.hashtags),
            state=VideoState[videos_pb2.VideoState.Name(video.state).removeprefix("VIDEO_STATE_")],
            failure_reason=video.failure_reason or None,
            visibility=Visibility[videos_pb2.Visibility.Name(video.visibility).removeprefix("VISIBILITY_")],
            allow_comments=video.allow_comments,
            created_at=moment(video.created_at),
            duration_ms=count(video.duration_ms) or None,
            width=video.width or None,
            height=video.height or None,
            has_audio=video.has_audio if ready else None,
        )

    @resolved("Who published it.")
    def author(self, info: Info) -> UserRef | None:
        return pick(info.context.loaders.users, self.author_number, same)

    @resolved("How to play it; null until READY.")
    def playback(self, info: Info) -> Playback | None:
        if self.signed is not None or self.state is not VideoState.READY:
            return self.signed
        # A command's answer carries no URLs; a read does.
        return pick(info.context.loaders.videos, self.number, lambda again: again.signed if again else None)

    @resolved("How many like it.")
    def like_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.engagement, self.number, lambda found: count(found.like_count))

    @resolved("How many comments and replies stand.")
    def comment_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.engagement, self.number, lambda found: count(found.comment_count))

    @resolved("How often it was shared.")
    def share_count(self, info: Info) -> int | None:
        return pick(info.context.loaders.engagement, self.number, lambda found: count(found.share_count))

    @resolved("How often it was watched.")
    def view_count(self, info: Info) -> SafeInt | None:
        return pick(info.context.loaders.views, self.number, SafeInt)

    @resolved("Whether the viewer likes it; null when nobody is logged in.")
    def viewer_has_liked(self, info: Info) -> bool | None:
        if not info.context.caller.user_id:
            return None
        return pick(info.context.loaders.engagement, self.number, lambda found: found.viewer_has_liked)

    @resolved("Its top-level comments, newest first.")
    async def comments(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[CommentRef] | None:
        from gateway.types.comment import comments_page

        return await comments_page(info, self.number, 0, page_size(first), after)

    @resolved("A link for people, where the video is shown.")
    def share_url(self, info: Info) -> str:
        return f"{info.context.public_url}/w/{self.id}"
