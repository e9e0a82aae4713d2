"""Reading what followed accounts published: the inbox, joined by what is pulled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feed_svc.fanout.activity import ActivityRules
from feed_svc.fanout.store import FanoutJobs, FollowGraph, Inbox, InboxStore, Key, Post, TimelineStore
from feed_svc.settings import FeedSettings
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, Reason
from svc_kit.last_known import within

KNOWN_ACTIVITY_S = 0.3


def digest_of(followees: Iterable[int]) -> int:
    """Names a set of followees: the same for the same set, in whatever order."""
    return sum(followees) & (2**62 - 1)


class FollowedVideos:
    """Newest first, complete posts of followed accounts. An inbox that is lost, or was filled for other followees, is
    filled again by pull; without the cache everything is pulled."""

    def __init__(
        self,
        inboxes: InboxStore,
        timelines: TimelineStore,
        jobs: FanoutJobs,
        graph: FollowGraph,
        settings: FeedSettings,
        clock: Clock,
    ) -> None:
        self._inboxes = inboxes
        self._timelines = timelines
        self._jobs = jobs
        self._graph = graph
        self._settings = settings
        self._rules = ActivityRules.of(settings)
        self._clock = clock

    async def newest(
        self, user_id: int, followees: frozenset[int], limit: int, *, before: Key | None = None
    ) -> Sequence[Post]:
        """Up to `limit` posts of `followees` below `before`, newest first; not filtered by what the viewer may see."""
        if not followees:
            return []
        inbox = await self._inbox(user_id, followees)
        if inbox is None:
            return await self._timelines.newest(sorted(followees), limit, before=before)
        pulled = await self._jobs.pulled_among(sorted(followees))
        from_authors = await self._timelines.newest(sorted(pulled), limit, before=before) if pulled else []
        floor = inbox.posts[-1].key if inbox.is_full else None
        posts = _merge((post for post in (*inbox.posts, *from_authors) if post.author_id in followees), before, floor)
        if floor is None or len(posts) >= limit:
            return posts[:limit]
        below = posts[-1].key if posts else before
        return [*posts, *await self._timelines.newest(sorted(followees), limit - len(posts), before=below)]

    async def fill(self, user_id: int, followees: frozenset[int]) -> Inbox:
        """Fill an inbox by pull. Raises UNAVAILABLE when the cache can't be reached."""
        # Pushes arrive from here on; what was pushed before has its timeline entry already, so nothing falls between.
        token = await self._inboxes.begin_fill(user_id)
        # In this order: a fan-out that passed the viewer over began before the answer, so its video is pulled.
        brief = not await self._is_pushed_to(user_id)
        posts = await self._timelines.newest(sorted(followees), self._settings.inbox_entries)
        await self._inboxes.fill(user_id, token, digest_of(followees), posts, brief=brief)
        return Inbox(tuple(posts), is_full=len(posts) >= self._settings.inbox_entries)

    async def _is_pushed_to(self, user_id: int) -> bool:
        """Whether fan-out will meet the viewer among the active ones for as long as an inbox lasts."""
        try:
            async with within(KNOWN_ACTIVITY_S):
                known_at_ms = await self._graph.known_activity(user_id)
        except AppError:
            return False
        return self._rules.is_pushed_to(known_at_ms, now_ms(self._clock))

    async def _inbox(self, user_id: int, followees: frozenset[int]) -> Inbox | None:
        if len(followees) > self._settings.pull_above_followees:
            return None
        try:
            return await self._inboxes.read(user_id, digest_of(followees)) or await self.fill(user_id, followees)
        except AppError as error:
            if error.reason is not Reason.UNAVAILABLE:
                raise
            return None


def _merge(posts: Iterable[Post], before: Key | None, floor: Key | None) -> list[Post]:
    """Each post once, newest first, below `before`, and not below `floor`, where the inbox ends."""
    wanted = {
        post.video_id: post
        for post in posts
        if (before is None or post.key < before) and (floor is None or post.key >= floor)
    }
    return sorted(wanted.values(), key=lambda post: post.key, reverse=True)
