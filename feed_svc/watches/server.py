"""WatchService: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

from feed_svc.watches.commands import ReportedWatch, WatchCommands
from feed_svc.watches.queries import WatchQueries
from reelgraph.feed.v1.watches_pb2 import (
    BatchGetViewCountsRequest,
    BatchGetViewCountsResponse,
    ListWatchHistoryRequest,
    ListWatchHistoryResponse,
    RecordWatchesRequest,
    RecordWatchesResponse,
    RejectedWatch,
    ViewCount,
    WatchHistoryEntry,
)
from reelgraph.feed.v1.watches_pb2_grpc import WatchServiceServicer
from svc_kit.caller import current_caller
from svc_kit.clock import from_ms


class WatchServicer(WatchServiceServicer):
    """See `reelgraph/feed/v1/watches.proto`."""

    def __init__(self, commands: WatchCommands, queries: WatchQueries) -> None:
        self._commands = commands
        self._queries = queries

    async def RecordWatches(self, request: RecordWatchesRequest, context: Any) -> RecordWatchesResponse:
        watches = [
            ReportedWatch(w.watch_id, w.video_id, w.watched_ms, w.completed, w.skipped, w.edge_cursor)
            for w in request.watches
        ]
        result = await self._commands.record_watches(current_caller(), watches)
        return RecordWatchesResponse(
            accepted_count=result.accepted_count,
            rejected=[
                RejectedWatch(index=r.index, field=r.field, code=r.code, message=r.message) for r in result.rejected
            ],
        )

    async def ListWatchHistory(self, request: ListWatchHistoryRequest, context: Any) -> ListWatchHistoryResponse:
        viewer = current_caller().viewer()
        page = await self._queries.history(viewer, request.page_size, request.page_token)
        entries = []
        for entry, token in page.entries:
            message = WatchHistoryEntry(video_id=entry.video_id, watched_ms=entry.watched_ms, page_token=token)
            message.watched_at.FromDatetime(from_ms(entry.watched_at_ms))
            entries.append(message)
        more = entries[-1].page_token if entries and page.has_more else ""
        return ListWatchHistoryResponse(entries=entries, next_page_token=more)

    async def BatchGetViewCounts(self, request: BatchGetViewCountsRequest, context: Any) -> BatchGetViewCountsResponse:
        counts = await self._queries.view_counts(current_caller().user_id, request.video_ids)
        return BatchGetViewCountsResponse(counts=[ViewCount(video_id=v, view_count=n) for v, n in counts])
