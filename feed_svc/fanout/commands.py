"""Fan-out: author timelines kept from events, inboxes pushed by resumable jobs, both made again on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from feed_svc.fanout.activity import ActivityRules
from feed_svc.fanout.queries import FollowedVideos
from feed_svc.fanout.store import (
    ActivityStore,
    ActivityTx,
    FanoutJob,
    FanoutJobs,
    FollowGraph,
    InboxStore,
    Post,
    PublishedVideos,
    TimelineEntry,
    TimelineStore,
)
from feed_svc.settings import FeedSettings
from reelgraph.events.v1.viewer_pb2 import ViewerActive
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.ending import cancel_all

LEASE_MS = 60_000
PAGES_A_WINDOW = 20
"""A window whose followers are nearly all inactive ends after so many pages: the lease is prolonged with each."""
REBUILD_PAGE = 500


class FanoutCommands:
    """Applies published, changed and deleted videos. All of it is idempotent by the video's version."""

    def __init__(
        self,
        timelines: TimelineStore,
        inboxes: InboxStore,
        jobs: FanoutJobs,
        graph: FollowGraph,
        settings: FeedSettings,
        clock: Clock,
        *,
        queued: Callable[[], None],
    ) -> None:
        self._timelines = timelines
        self._inboxes = inboxes
        self._jobs = jobs
        self._graph = graph
        self._settings = settings
        self._rules = ActivityRules.of(settings)
        self._clock = clock
        self._queued = queued

    async def publish(self, entry: TimelineEntry) -> None:
        """A video was published, or changed. PRIVATE ones leave the inboxes."""
        await self._timelines.put([entry])
        private = entry.visibility == "PRIVATE"
        if not private and await self._is_pulled(entry.post.author_id):
            return
        await self._queue(FanoutJob(entry.post, entry.version, withdraw=private))

    async def withdraw(self, video_id: int, author_id: int, version: int) -> None:
        """A video is gone for good."""
        known = [entry.post for entry in await self._timelines.get([video_id])]
        post = known[0] if known else Post(video_id, author_id, 0)
        await self._timelines.put([TimelineEntry(post, "PRIVATE", (), 0, "", version, deleted=True)])
        await self._queue(FanoutJob(post, version, withdraw=True))

    async def run_next(self, holder: str) -> bool:
        """Do one job, a window of active followers at a time, from where a killed process left it; false when there is
        none.

        The next window is read while one is pushed: two are in memory at most."""
        job = await self._jobs.claim(holder, LEASE_MS)
        if job is None:
            return False
        author_id = job.post.author_id
        reading = asyncio.create_task(self._window(author_id, job.last_follower_id))
        try:
            while True:
                followers, upto_id = await reading
                done = not upto_id
                if not done:
                    reading = asyncio.create_task(self._window(author_id, upto_id))
                if followers:
                    await self._deliver(job, followers)
                job = replace(job, last_follower_id=upto_id or job.last_follower_id)
                if not await self._jobs.advance(job, holder, LEASE_MS, done=done) or done:
                    return True
        finally:
            await cancel_all([reading])
            if not reading.cancelled():
                reading.exception()  # Read, or asyncio would complain of it when the push failed first.

    async def _window(self, author_id: int, after_id: int) -> tuple[list[int], int]:
        """Active followers after one, ascending, and up to whom it was looked; 0: to the end."""
        found: list[int] = []
        since_ms = self._rules.push_since_ms(now_ms(self._clock))
        for _ in range(PAGES_A_WINDOW):
            most = min(self._settings.follower_page, self._settings.fanout_window - len(found))
            page = await self._graph.active_followers(author_id, after_id, most, since_ms)
            found += page.user_ids
            after_id = page.upto_id
            if not after_id or len(found) >= self._settings.fanout_window:
                break
        return found, after_id

    async def _deliver(self, job: FanoutJob, followers: Sequence[int]) -> None:
        if job.withdraw:
            await self._inboxes.withdraw(job.post, followers)
        else:
            await self._inboxes.push(job.post, followers)

    async def _is_pulled(self, author_id: int) -> bool:
        if self._settings.celebrity_side == "push":
            return False
        if await self._graph.follower_count(author_id) > self._settings.pull_above_followers:
            await self._jobs.set_pulled(author_id)
            return True
        # An author who falls below the limit stays pulled: what was not pushed before is in no inbox.
        return author_id in await self._jobs.pulled_among([author_id])

    async def _queue(self, job: FanoutJob) -> None:
        await self._jobs.put(job)
        self._queued()


class FanoutRebuilds:
    """Makes author timelines and inboxes again."""

    def __init__(
        self,
        timelines: TimelineStore,
        followed: FollowedVideos,
        activity: ActivityStore,
        graph: FollowGraph,
        videos: PublishedVideos,
        settings: FeedSettings,
        clock: Clock,
    ) -> None:
        self._timelines = timelines
        self._followed = followed
        self._activity = activity
        self._graph = graph
        self._videos = videos
        self._settings = settings
        self._clock = clock

    async def author_timelines(self) -> int:
        """From media_svc's published videos; returns how many entries there are. Safe while events are applied."""
        started, after, count = now_ms(self._clock), 0, 0
        while page := await self._videos.page(after, REBUILD_PAGE):
            await self._timelines.put(page)
            after, count = page[-1].post.video_id, count + len(page)
            if len(page) < REBUILD_PAGE:
                break
        await self._timelines.remove_unheard(started)
        return count

    async def viewer_activity(self) -> int:
        """Tell everybody again when each viewer was last active; returns how many viewers. For a follow graph that was
        lost, or one that has not heard of activity yet."""
        after, count = 0, 0
        while page := await self._activity.page(after, REBUILD_PAGE):
            async with self._activity.begin(Caller(is_service=True)) as tx:
                for user_id, at_ms in page:
                    _tell(tx, user_id, at_ms)
            after, count = page[-1][0], count + len(page)
        return count

    async def inboxes(self) -> int:
        """Of all viewers active within `push_within_hours`; returns how many."""
        since = now_ms(self._clock) - self._settings.push_within_hours * 3600 * 1000
        after, count = 0, 0
        while page := await self._activity.active(since, after, REBUILD_PAGE):
            for user_id in page:
                followees = frozenset(await self._graph.followee_ids(user_id))
                if len(followees) <= self._settings.pull_above_followees:
                    await self._followed.fill(user_id, followees)
                    count += 1
            after = page[-1]
        return count


class Activity:
    """Notes that a viewer reads their feed, at most once in `activity_every_hours`."""

    def __init__(
        self, store: ActivityStore, settings: FeedSettings, clock: Clock, *, remembered: int = 100_000
    ) -> None:
        self._store = store
        self._every_ms = int(settings.activity_every_hours * 3600 * 1000)
        self._clock = clock
        self._noted: dict[int, int] = {}
        self._remembered = remembered

    async def note_all(self, user_ids: Sequence[int]) -> None:
        """These viewers read now."""
        for user_id in dict.fromkeys(user_ids):
            await self._note(user_id)

    async def _note(self, user_id: int) -> None:
        now = now_ms(self._clock)
        if now - self._noted.get(user_id, 0) < self._every_ms:
            return
        async with self._store.begin(Caller(user_id=user_id)) as tx:
            await tx.touch(user_id, now)
            _tell(tx, user_id, now)
        self._noted.pop(user_id, None)
        self._noted[user_id] = now
        if len(self._noted) > self._remembered:
            del self._noted[next(iter(self._noted))]


def _tell(tx: ActivityTx, user_id: int, at_ms: int) -> None:
    body = ViewerActive(user_id=user_id, active_at_ms=at_ms)
    tx.emit(entity=f"viewer:{user_id}", version=at_ms, actor_id=user_id, viewer_active=body)
