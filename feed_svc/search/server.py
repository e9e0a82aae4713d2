"""`SearchService`: protobuf to the domain and back."""

from __future__ import annotations

from typing import Any

from feed_svc.search.queries import Found, SearchQueries
from feed_svc.search.store import HashtagRow, Kind
from reelgraph.feed.v1.search_pb2 import (
    BatchGetHashtagsRequest,
    BatchGetHashtagsResponse,
    Hashtag,
    HashtagVideo,
    ListHashtagVideosRequest,
    ListHashtagVideosResponse,
    SearchHit,
    SearchRequest,
    SearchResponse,
    SearchType,
)
from reelgraph.feed.v1.search_pb2_grpc import SearchServiceServicer
from svc_kit.caller import current_caller
from svc_kit.paging import page_size

_KINDS = {
    SearchType.SEARCH_TYPE_VIDEO: Kind.VIDEO,
    SearchType.SEARCH_TYPE_USER: Kind.USER,
    SearchType.SEARCH_TYPE_HASHTAG: Kind.HASHTAG,
}
_TYPES = {kind: type_ for type_, kind in _KINDS.items()}


class SearchServicer(SearchServiceServicer):
    """Search, hashtags and their videos."""

    def __init__(self, queries: SearchQueries) -> None:
        self._queries = queries

    async def Search(self, request: SearchRequest, context: Any) -> SearchResponse:
        page = await self._queries.search(
            current_caller(),
            request.query,
            [_KINDS[type_] for type_ in request.types if type_ in _KINDS],
            page_size(request.page_size, default=10),
            request.page_token,
        )
        hits = [_hit(found) for found in page.hits]
        return SearchResponse(hits=hits, next_page_token=hits[-1].page_token if page.has_more else "")

    async def BatchGetHashtags(self, request: BatchGetHashtagsRequest, context: Any) -> BatchGetHashtagsResponse:
        rows = await self._queries.hashtags(request.names)
        return BatchGetHashtagsResponse(hashtags=[_hashtag(row) for row in rows])

    async def ListHashtagVideos(self, request: ListHashtagVideosRequest, context: Any) -> ListHashtagVideosResponse:
        page = await self._queries.hashtag_videos(
            current_caller(), request.name, page_size(request.page_size), request.page_token
        )
        entries = [HashtagVideo(video_id=video_id, page_token=token) for video_id, token in page.entries]
        return ListHashtagVideosResponse(
            entries=entries, next_page_token=entries[-1].page_token if page.has_more else ""
        )


def _hit(found: Found) -> SearchHit:
    hashtag = _hashtag(found.hashtag) if found.hashtag else None
    return SearchHit(type=_TYPES[found.kind], id=found.id, hashtag=hashtag, page_token=found.page_token)


def _hashtag(row: HashtagRow) -> Hashtag:
    return Hashtag(name=row.name, video_count=row.video_count)
