"""FeedService: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

from feed_svc.feeds.commands import FeedCommands
from feed_svc.feeds.cursors import FOLLOWING, FOR_YOU
from feed_svc.feeds.feed import Feeds
from feed_svc.feeds.store import ClientHints
from feed_svc.feeds.viewers import Viewer
from reelgraph.common.v1.client_pb2 import ClientContext
from reelgraph.feed.v1.feeds_pb2 import (
    FeedEdge,
    FeedKind,
    FeedReason,
    FeedReasonKind,
    GetFeedRequest,
    GetFeedResponse,
    MarkNotInterestedRequest,
    MarkNotInterestedResponse,
)
from reelgraph.feed.v1.feeds_pb2_grpc import FeedServiceServicer
from svc_kit.caller import current_caller

MOST_HINT_CHARS = 64


class FeedServicer(FeedServiceServicer):
    """See `reelgraph/feed/v1/feeds.proto`."""

    def __init__(self, feeds: Feeds, commands: FeedCommands) -> None:
        self._feeds = feeds
        self._commands = commands

    async def GetFeed(self, request: GetFeedRequest, context: Any) -> GetFeedResponse:
        kind = FOLLOWING if request.kind == FeedKind.FEED_KIND_FOLLOWING else FOR_YOU
        viewer = Viewer(current_caller().user_id, _hints(request.client))
        page = await self._feeds.page(kind, viewer, request.page_size, request.cursor)
        return GetFeedResponse(
            edges=[
                FeedEdge(
                    video_id=edge.video_id,
                    cursor=edge.cursor,
                    reason=FeedReason(
                        kind=FeedReasonKind.Name(int(edge.reason)),
                        user_id=edge.user_id,
                        video_id=edge.seed_video_id,
                        hashtag=edge.hashtag,
                    ),
                )
                for edge in page.edges
            ],
            has_next_page=page.has_next,
            snapshot_id=page.snapshot_id,
            stale=page.is_stale,
        )

    async def MarkNotInterested(self, request: MarkNotInterestedRequest, context: Any) -> MarkNotInterestedResponse:
        result = await self._commands.mark_not_interested(current_caller(), request.video_id)
        return MarkNotInterestedResponse(video_id=result.video_id)


def _hints(client: ClientContext) -> ClientHints:
    fields = (client.client_id, client.device, client.timezone, client.language, client.region)
    return ClientHints(*(value[:MOST_HINT_CHARS] for value in fields))
