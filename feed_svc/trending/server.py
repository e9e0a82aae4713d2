"""`TrendingService`: protobuf to the domain and back."""

from __future__ import annotations

from typing import Any

from feed_svc.trending.queries import TrendingQueries
from reelgraph.feed.v1.trending_pb2 import ListTrendingRequest, ListTrendingResponse, TrendingEntry
from reelgraph.feed.v1.trending_pb2_grpc import TrendingServiceServicer
from svc_kit.caller import current_caller
from svc_kit.paging import page_size


class TrendingServicer(TrendingServiceServicer):
    """What many watch now."""

    def __init__(self, queries: TrendingQueries) -> None:
        self._queries = queries

    async def ListTrending(self, request: ListTrendingRequest, context: Any) -> ListTrendingResponse:
        size = page_size(request.page_size, default=10)
        page = await self._queries.list_trending(current_caller(), size, request.page_token)
        entries = [TrendingEntry(video_id=e.video_id, score=e.score, page_token=e.page_token) for e in page.entries]
        return ListTrendingResponse(entries=entries, next_page_token=entries[-1].page_token if page.has_more else "")
