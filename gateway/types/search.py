"""Search results."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Annotated

import strawberry

from gateway.context import Info
from gateway.types.hashtag import Hashtag
from gateway.types.page import Connection, page
from gateway.types.user import User
from gateway.types.video import Video
from reelgraph.feed.v1 import search_pb2


@strawberry.enum(description="What to look for. More may come.")
class SearchType(Enum):
    """`reelgraph.feed.v1.SearchType`."""

    VIDEO = strawberry.enum_value("VIDEO", description="Videos, by caption, hashtags and author.")
    USER = strawberry.enum_value("USER", description="Accounts, by user name and display name.")
    HASHTAG = strawberry.enum_value("HASHTAG", description="Hashtags, by name.")


SearchResult = Annotated[Video | User | Hashtag, strawberry.union("SearchResult", description="What a search finds.")]


async def load_search(
    info: Info, query: str, types: list[SearchType] | None, size: int, after: str | None
) -> Connection[SearchResult]:
    """A page of results, best first; what can't be shown is left out."""
    context = info.context
    request = search_pb2.SearchRequest(
        query=query,
        types=[f"SEARCH_TYPE_{wanted.name}" for wanted in types or ()],
        page_size=size,
        page_token=after or "",
    )
    answer: search_pb2.SearchResponse = await context.rpc(context.clients.search.Search, request)
    shown = await asyncio.gather(
        context.loaders.show_videos([hit.id for hit in answer.hits if hit.type == search_pb2.SEARCH_TYPE_VIDEO]),
        context.loaders.show_users([hit.id for hit in answer.hits if hit.type == search_pb2.SEARCH_TYPE_USER]),
    )
    videos = {video.number: video for video in shown[0] if video}
    users = {user.number: user for user in shown[1] if user}

    def node_of(hit: search_pb2.SearchHit) -> Video | User | Hashtag | None:
        if hit.type == search_pb2.SEARCH_TYPE_VIDEO:
            return videos.get(hit.id)
        if hit.type == search_pb2.SEARCH_TYPE_USER:
            return users.get(hit.id)
        return Hashtag.of(hit.hashtag) if hit.HasField("hashtag") else None

    found = [(node_of(hit), hit.page_token) for hit in answer.hits]
    return page(found, has_next=bool(answer.next_page_token), after=after)
