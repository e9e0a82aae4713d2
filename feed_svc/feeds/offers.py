"""The sources of candidates, each made of a port."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feed_svc.feeds.sources import FRIENDS, INBOX, RECENT, TRENDING, Source, SourceRequest
from feed_svc.feeds.store import Candidate, FollowedSource, InteractionStore, KnownVideos, Retrieval, TrendingSource
from svc_kit.breaker import Breaker

INBOX_LIMIT = 100
TRENDING_LIMIT = 100
RECENT_LIMIT = 100
FRIENDS_LIMIT = 100
MOST_FRIENDS = 100
"""Whose likes are looked at, in one read of this service's own."""


def sources_of(
    followed: FollowedSource,
    retrieval: Retrieval,
    trending: TrendingSource | None,
    known: KnownVideos,
    interactions: InteractionStore,
    breaker: Callable[[str], Breaker],
) -> list[Source]:
    """All sources, each behind a breaker of its own."""

    async def inbox(request: SourceRequest) -> Sequence[Candidate]:
        posts = await followed.newest(request.viewer.viewer_id, request.relations.followees, INBOX_LIMIT)
        return [Candidate(post.video_id, post.author_id, INBOX) for post in posts]

    async def retrieved(request: SourceRequest) -> Sequence[Candidate]:
        answer = await retrieval.retrieve(request.viewer, request.exclude_videos, request.exclude_authors)
        return answer.candidates

    async def recent(_request: SourceRequest) -> Sequence[Candidate]:
        newest = await known.newest(RECENT_LIMIT)
        return [Candidate(v.video_id, v.author_id, RECENT, hashtags=v.hashtags) for v in newest]

    async def friends(request: SourceRequest) -> Sequence[Candidate]:
        some = sorted(request.relations.friends)[:MOST_FRIENDS]
        liked = await interactions.liked(some, FRIENDS_LIMIT) if some else ()
        return [Candidate(video_id, author_id, FRIENDS) for video_id, author_id in liked]

    fetchers = {"inbox": inbox, "retrieval": retrieved, "recent": recent, "friends": friends}
    if trending is not None:

        async def top(_request: SourceRequest) -> Sequence[Candidate]:
            return [Candidate(v, a, TRENDING, score) for v, a, score in await trending.top(TRENDING_LIMIT)]

        fetchers["trending"] = top
    return [Source(name, breaker(name), fetch) for name, fetch in fetchers.items()]
