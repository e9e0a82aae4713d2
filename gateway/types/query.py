"""The root of queries."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.types.feed import FeedConnection, FeedKind, load_feed
from gateway.types.fields import arg, resolved
from gateway.types.hashtag import videos_page
from gateway.types.node import Node
from gateway.types.page import After, Connection, First, page_size
from gateway.types.search import SearchResult, SearchType, load_search
from gateway.types.session import Session
from gateway.types.upload import Upload
from gateway.types.user import User
from gateway.types.video import Video
from gateway.types.viewer import Viewer, viewer_sessions
from reelgraph.feed.v1 import trending_pb2
from svc_kit.errors import invalid

MAX_NODES = 100


@strawberry.type(description="Everything that can be read.")
class Query:
    """What is unknown or invisible is null without an error."""

    @resolved("The thing with this id; null when it is unknown or the viewer may not see it.")
    async def node(self, info: Info, id: Annotated[strawberry.ID, arg("A node's id.")]) -> Node | None:
        return await load_node(info, id)

    @resolved("The things with these ids, in the order asked, null where there is none. At most 100.")
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], arg("Ids of nodes, at most 100.")]
    ) -> list[Node | None]:
        if len(ids) > MAX_NODES:
            raise invalid("ids", f"ids must have at most {MAX_NODES} items; it has {len(ids)}.")
        found: list[Any] = await asyncio.gather(*(load_node(info, id) for id in ids), return_exceptions=True)
        # An exception in a list is an error at its own place: the others stand.
        return cast(list[Node | None], found)

    @resolved("Whoever is logged in; null when nobody is.")
    async def viewer(self, info: Info) -> Viewer | None:
        number = info.context.caller.user_id
        return Viewer.of(number) if number else None

    @resolved("The account with this user name.")
    async def user(
        self, info: Info, username: Annotated[str, arg("The user name; case does not matter.")]
    ) -> User | None:
        return await info.context.loaders.usernames.load(username) if username else None

    @resolved("The video with this id.")
    async def video(self, info: Info, id: Annotated[strawberry.ID, arg("The video's id.")]) -> Video | None:
        number = ids.number_of(ids.Kind.VIDEO, id)
        return await info.context.loaders.videos.load(number) if number else None

    @resolved("One of the viewer's own uploads.")
    async def upload(self, info: Info, id: Annotated[strawberry.ID, arg("The upload's id.")]) -> Upload | None:
        number = ids.number_of(ids.Kind.UPLOAD, id)
        return await _own_upload(info, number) if number else None

    @resolved("A page of a feed.")
    async def feed(
        self,
        info: Info,
        kind: Annotated[FeedKind, arg("Which feed.")] = FeedKind.FOR_YOU,
        first: First = 10,
        after: After = strawberry.UNSET,
    ) -> FeedConnection | None:
        return await load_feed(info, kind, page_size(first), after)

    @resolved("Public videos that many watch now, best first.")
    async def trending(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[Video] | None:
        context = info.context
        request = trending_pb2.ListTrendingRequest(
            page_size=page_size(first), page_token=after or "", client=context.client
        )
        answer: trending_pb2.ListTrendingResponse = await context.rpc(context.clients.trending.ListTrending, request)
        return await videos_page(info, answer.entries, has_next=bool(answer.next_page_token), after=after)

    @resolved("Videos, accounts and hashtags, as one types: prefixes and small typos match.")
    async def search(
        self,
        info: Info,
        query: Annotated[str, arg("What to look for, at most 200 characters.")],
        types: Annotated[list[SearchType] | None, arg("Wanted types; absent or empty: all.")] = strawberry.UNSET,
        first: First = 10,
        after: After = strawberry.UNSET,
    ) -> Connection[SearchResult] | None:
        return await load_search(info, query, types, page_size(first), after)


async def load_node(info: Info, text: str) -> Node | None:
    """The node of an id; None for what is malformed, unknown or invisible."""
    found = ids.decode(text)
    if found is None:
        return None
    loaders, viewer = info.context.loaders, info.context.caller.user_id
    match found.kind:
        case ids.Kind.USER:
            return await loaders.users.load(found.number)
        case ids.Kind.VIDEO:
            return await loaders.videos.load(found.number)
        case ids.Kind.COMMENT:
            return await loaders.comments.load(found.number)
        case ids.Kind.HASHTAG:
            return await loaders.hashtags.load(found.name)
        case ids.Kind.UPLOAD:
            return await _own_upload(info, found.number)
        case ids.Kind.NOTIFICATION:
            return await loaders.notifications.load(found.number) if viewer else None
        case ids.Kind.SESSION:
            return await _own_session(info, found.number)
        case ids.Kind.VIEWER:
            return Viewer.of(viewer) if viewer == found.number else None


async def _own_upload(info: Info, number: int) -> Upload | None:
    return await info.context.loaders.uploads.load(number) if info.context.caller.user_id else None


async def _own_session(info: Info, number: int) -> Session | None:
    if not info.context.caller.user_id:
        return None
    return next((session for session in await viewer_sessions(info) if session.number == number), None)
