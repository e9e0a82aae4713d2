"""The feed: videos, and why each is there."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import cast

import strawberry

from gateway.context import Info
from gateway.ready import pick, same
from gateway.types.fields import resolved
from gateway.types.page import PageInfo, page_info
from gateway.types.refs import UserRef, VideoRef
from gateway.types.video import Video
from reelgraph.feed.v1 import feeds_pb2
from svc_kit.errors import AppError


@strawberry.enum(description="Which feed.")
class FeedKind(Enum):
    """`reelgraph.feed.v1.FeedKind`."""

    FOR_YOU = strawberry.enum_value("FOR_YOU", description="Personalised; logged out, what suits the client.")
    FOLLOWING = strawberry.enum_value(
        "FOLLOWING", description="Videos of followed accounts, newest first. Needs a log-in."
    )


@strawberry.enum(description="Why a video is in a feed. More may come.")
class FeedReasonKind(Enum):
    """`reelgraph.feed.v1.FeedReasonKind`."""

    FOLLOWED = strawberry.enum_value("FOLLOWED", description="The viewer follows its author.")
    FRIENDS = strawberry.enum_value(
        "FRIENDS", description="Accounts that the viewer follows, and that follow back, liked it."
    )
    TRENDING = strawberry.enum_value("TRENDING", description="Many watch it now.")
    FOR_YOUR_TASTE = strawberry.enum_value(
        "FOR_YOUR_TASTE", description="Near what the viewer watches, or chose as interests."
    )
    SIMILAR_VIEWERS = strawberry.enum_value("SIMILAR_VIEWERS", description="Viewers with a like taste finished it.")
    SIMILAR_VIDEO = strawberry.enum_value(
        "SIMILAR_VIDEO", description="Like a video that the viewer liked or finished."
    )
    NEW = strawberry.enum_value("NEW", description="Young, and getting its first impressions.")
    POPULAR_NEAR_YOU = strawberry.enum_value(
        "POPULAR_NEAR_YOU", description="Watched in the viewer's language or region."
    )
    WATCH_AGAIN = strawberry.enum_value(
        "WATCH_AGAIN", description="Nothing unseen is left; the viewer saw this longest ago."
    )


_TEXTS = {
    FeedReasonKind.FOLLOWED: "From an account you follow",
    FeedReasonKind.FRIENDS: "Liked by friends of yours",
    FeedReasonKind.TRENDING: "Trending now",
    FeedReasonKind.FOR_YOUR_TASTE: "Close to what you like to watch",
    FeedReasonKind.SIMILAR_VIEWERS: "Watched to the end by viewers with a taste like yours",
    FeedReasonKind.SIMILAR_VIDEO: "Similar to a video that you liked or finished",
    FeedReasonKind.NEW: "New, and looking for its first viewers",
    FeedReasonKind.POPULAR_NEAR_YOU: "Popular in your language or region",
    FeedReasonKind.WATCH_AGAIN: "You have seen everything; watch this one again",
}


@strawberry.type(description="Why a video is in a feed: always true, and of public actions only.")
class FeedReason:
    """`user_number` for FOLLOWED, `video_number` for SIMILAR_VIDEO, `hashtag` for FOR_YOUR_TASTE; else empty."""

    user_number: strawberry.Private[int]
    video_number: strawberry.Private[int]
    hashtag: strawberry.Private[str]
    kind: FeedReasonKind = strawberry.field(description="The kind of reason.")

    @classmethod
    def of(cls, reason: feeds_pb2.FeedReason) -> FeedReason:
        """From its message."""
        name = feeds_pb2.FeedReasonKind.Name(reason.kind)
        return cls(
            kind=FeedReasonKind[name.removeprefix("FEED_REASON_KIND_")],
            user_number=reason.user_id,
            video_number=reason.video_id,
            hashtag=reason.hashtag,
        )

    @resolved("The reason in words, for a person.")
    def text(self, info: Info) -> str:
        if self.kind is FeedReasonKind.FOR_YOUR_TASTE and self.hashtag:
            return f"Because you like #{self.hashtag}"
        if self.kind is FeedReasonKind.FOLLOWED and self.user_number:
            # A resolver may answer an awaitable; most reasons need none.
            return cast(str, self._followed(info))
        return _TEXTS[self.kind]

    async def _followed(self, info: Info) -> str:
        try:
            user = await info.context.loaders.users.load(self.user_number)
        except AppError:
            # The words without the name are true too; the field `user` reports the outage.
            user = None
        return f"You follow @{user.username}" if user else _TEXTS[self.kind]

    @resolved("For FOLLOWED, the author; null otherwise.")
    def user(self, info: Info) -> UserRef | None:
        return pick(info.context.loaders.users, self.user_number, same) if self.user_number else None

    @resolved("For SIMILAR_VIDEO, the video it is like; null otherwise.")
    def video(self, info: Info) -> VideoRef | None:
        return pick(info.context.loaders.videos, self.video_number, same) if self.video_number else None


@strawberry.type(description="One video of a feed.")
class FeedEdge:
    """`cursor` is signed by feed_svc and bound to its viewer."""

    node: Video = strawberry.field(description="The video.")
    cursor: str = strawberry.field(description="Opaque, the viewer's own; continues the feed after this video.")
    reason: FeedReason | None = strawberry.field(description="Why it is there.")


@strawberry.type(description="A page of a feed. Pages of one snapshot neither repeat nor skip.")
class FeedConnection:
    """What can't be shown any more is left out."""

    edges: list[FeedEdge] = strawberry.field(description="The videos, in order.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    snapshot_id: str = strawberry.field(description="The snapshot that the page belongs to.")
    stale: bool = strawberry.field(description="Whether this is an older answer because something was late or failing.")


async def load_feed(info: Info, kind: FeedKind, size: int, after: str | None) -> FeedConnection:
    """A page of a feed, hydrated in one batch together with the videos that reasons name."""
    context = info.context
    request = feeds_pb2.GetFeedRequest(
        kind=f"FEED_KIND_{kind.name}",
        page_size=size,
        cursor=after or "",
        client=context.client,
    )
    answer: feeds_pb2.GetFeedResponse = await context.rpc(context.clients.feeds.GetFeed, request)
    numbers = [edge.video_id for edge in answer.edges]
    named = [edge.reason.video_id for edge in answer.edges if edge.reason.video_id]
    videos, _ = await asyncio.gather(
        context.loaders.show_videos(numbers),
        # In one batch with the page's own: loads of the same moment go together.
        context.loaders.videos.load_many(named if "FeedReason.video" in context.selected else []),
    )
    edges = [
        FeedEdge(node=video, cursor=edge.cursor, reason=FeedReason.of(edge.reason) if edge.reason.kind else None)
        for video, edge in zip(videos, answer.edges, strict=True)
        if video is not None
    ]
    return FeedConnection(
        edges=edges,
        page_info=page_info([edge.cursor for edge in answer.edges], has_next=answer.has_next_page, after=after),
        snapshot_id=answer.snapshot_id,
        stale=answer.stale,
    )
