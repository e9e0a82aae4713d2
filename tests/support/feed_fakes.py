"""A small world behind feed_svc's ports: videos, relations and a ranker, all countable, and late or down on demand."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from feed_svc.context import FeedContext
from feed_svc.fanout.store import FollowerPage, Post, TimelineEntry
from feed_svc.fanout.wiring import Fanout, build_fanout
from feed_svc.feeds.queries import FeedPage
from feed_svc.feeds.store import Candidate, ClientHints, Ranked, Relations, Retrieved, VideoFacts, ViewerContext
from feed_svc.feeds.viewers import Viewer
from feed_svc.feeds.wiring import FeedsDomain, Peers, build_feeds
from feed_svc.schema import metadata, outbox, replies
from feed_svc.settings import FeedSettings
from feed_svc.watches.commands import ReportedWatch, WatchCommands
from feed_svc.watches.stores.sql import SqlWatchLog
from svc_kit.caller import Caller
from svc_kit.clock import now_ms
from svc_kit.db import connect
from svc_kit.errors import unavailable
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.platform import BenchPlatform, create_tables, test_platform

TOPICS = ("cats", "cooking", "football", "dance", "travel")
VIEWER = 1


@dataclass
class World:
    """Everything that other services know. `down` names ports that fail, `slow` ports that never answer."""

    clock: FakeClock
    videos: dict[int, VideoFacts] = field(default_factory=dict)
    followers: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    relations_of: defaultdict[int, Relations] = field(default_factory=lambda: defaultdict(Relations))
    interests_of: dict[int, tuple[str, ...]] = field(default_factory=dict)
    activity_of: dict[int, int] = field(default_factory=dict)
    """When the graph thinks they read a feed; who is not in it did an hour ago and is pushed to."""
    trending: list[tuple[int, int, float]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    _called: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def add(self, video_id: int, author_id: int, topic: str, *, public: bool = True, age_h: float = 1.0) -> int:
        """Publish a video of 5 s."""
        created = now_ms(self.clock) - int(age_h * 3_600_000)
        self.videos[video_id] = VideoFacts(video_id, author_id, (topic,), public, 5000, created, "en")
        return video_id

    def follow(self, follower: int, followee: int) -> None:
        """One follow."""
        self.followers[followee].add(follower)
        known = self.relations_of[follower]
        self.relations_of[follower] = replace(known, followees=known.followees | {followee})

    def unfollow(self, follower: int, followee: int) -> None:
        """It ends."""
        self.followers[followee].discard(follower)
        known = self.relations_of[follower]
        self.relations_of[follower] = replace(known, followees=known.followees - {followee})

    def block(self, blocker: int, blocked: int) -> None:
        """One block, seen from both sides."""
        for one, other in ((blocker, blocked), (blocked, blocker)):
            known = self.relations_of[one]
            self.relations_of[one] = replace(
                known, blocked=known.blocked | {other}, followees=known.followees - {other}
            )

    def mute(self, muter: int, muted: int) -> None:
        """One mute."""
        known = self.relations_of[muter]
        self.relations_of[muter] = replace(known, muted=known.muted | {muted})

    async def called(self, port: str) -> None:
        """Return when a port was called."""
        await self._called[port].wait()

    async def asked(self, port: str) -> None:
        """Count a call; fail or hang when told to."""
        self.calls[port] += 1
        self._called[port].set()
        if port in self.down:
            raise unavailable(f"{port} is down")
        if port in self.slow:
            await asyncio.Event().wait()

    # ---- The ports ----

    async def visible(self, viewer_id: int, video_ids: Sequence[int]) -> dict[int, VideoFacts]:
        await self.asked("videos")
        relations = self.relations_of[viewer_id] if viewer_id else Relations()
        return {v: self.videos[v] for v in video_ids if v in self.videos and self._may_see(viewer_id, v, relations)}

    def _may_see(self, viewer_id: int, video_id: int, relations: Relations) -> bool:
        video = self.videos[video_id]
        if video.author_id in relations.blocked:
            return False
        return video.is_public or video.author_id in relations.followees or video.author_id == viewer_id

    async def relations(self, viewer_id: int) -> Relations:
        await self.asked("relations")
        return self.relations_of[viewer_id]

    async def interests(self, viewer_id: int) -> tuple[str, ...]:
        await self.asked("interests")
        return self.interests_of.get(viewer_id, ())

    async def retrieve(
        self, viewer: ViewerContext, exclude_videos: Sequence[int], exclude_authors: Sequence[int]
    ) -> Retrieved:
        await self.asked("retrieval")
        taste = _taste(viewer, self.videos)
        gone, barred = set(exclude_videos), set(exclude_authors)
        left = [v for v in self.videos.values() if v.is_public and v.video_id not in gone]
        left = [v for v in left if v.author_id not in barred]
        left.sort(key=lambda v: (-taste[v.hashtags[0]], v.video_id))
        source = "taste" if taste else "cold_start"
        liked = [act.video_id for act in viewer.recent if act.completed]
        found = []
        for place, video in enumerate(left):
            name, seed = ("similar_video", liked[0]) if liked and place % 5 == 4 else (source, 0)
            found.append(Candidate(video.video_id, video.author_id, name, -place, seed, video.hashtags))
        return Retrieved(found, "fake-1")

    async def rank(self, viewer: ViewerContext, video_ids: Sequence[int], followed: Sequence[bool]) -> Ranked:
        await self.asked("ranking")
        taste = _taste(viewer, self.videos)
        scores = {v: taste[self.videos[v].hashtags[0]] + (v * 7919 % 97) / 200 for v in video_ids if v in self.videos}
        return Ranked({v: scores.get(v, 0.0) for v in video_ids}, "fake-1")

    async def top(self, limit: int) -> Sequence[tuple[int, int, float]]:
        await self.asked("trending")
        return self.trending[:limit]

    async def follower_count(self, author_id: int) -> int:
        await self.asked("graph")
        return len(self.followers[author_id])

    async def active_followers(self, author_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        await self.asked("graph")
        page = [f for f in sorted(self.followers[author_id]) if f > after_id][:limit]
        found = [f for f in page if self.activity_of.get(f, since_ms) >= since_ms]
        return FollowerPage(found, page[-1] if len(page) == limit else 0)

    async def known_activity(self, user_id: int) -> int:
        await self.asked("activity")
        return self.activity_of.get(user_id, now_ms(self.clock) - 3_600_000)

    async def followee_ids(self, user_id: int) -> Sequence[int]:
        await self.asked("graph")
        return sorted(self.relations_of[user_id].followees)

    async def page(self, after_id: int, limit: int) -> Sequence[TimelineEntry]:
        await self.asked("published")
        ids = [video_id for video_id in sorted(self.videos) if video_id > after_id][:limit]
        return [timeline_entry(self.videos[video_id]) for video_id in ids]

    @property
    def peers(self) -> Peers:
        """All ports that feeds ask."""
        return Peers(self, self, self, self, self)


def _taste(viewer: ViewerContext, videos: dict[int, VideoFacts]) -> Counter[str]:
    taste: Counter[str] = Counter(dict.fromkeys(viewer.interests, 1))
    for act in viewer.recent:
        if (act.completed or act.liked) and act.video_id in videos:
            taste[videos[act.video_id].hashtags[0]] += 1
    return taste


def timeline_entry(video: VideoFacts, version: int = 1) -> TimelineEntry:
    """A video as the author timelines keep it."""
    return TimelineEntry(
        Post(video.video_id, video.author_id, video.created_at_ms),
        "PUBLIC" if video.is_public else "FOLLOWERS",
        video.hashtags,
        video.duration_ms,
        video.language,
        version,
    )


@dataclass
class Bench:
    """feed_svc's domains over a world, without servers and workers."""

    world: World
    platform: BenchPlatform
    context: FeedContext
    fanout: Fanout
    feeds: FeedsDomain
    watching: WatchCommands
    watched: int = 0

    async def publish(self, *video_ids: int) -> None:
        """Let the author timelines know."""
        for video_id in video_ids or list(self.world.videos):
            await self.fanout.commands.publish(timeline_entry(self.world.videos[video_id]))
        while await self.fanout.commands.run_next("test"):
            pass

    async def delete(self, video_id: int) -> None:
        """A video goes, everywhere."""
        video = self.world.videos.pop(video_id)
        await self.fanout.commands.withdraw(video_id, video.author_id, 1000)

    async def page(
        self, cursor: str = "", *, size: int = 10, viewer: int = VIEWER, kind: str = "FOR_YOU", client: str = ""
    ) -> FeedPage:
        """A page of a feed."""
        hints = ClientHints(client_id=client, language="en")
        return await self.feeds.feeds.page(kind, Viewer(viewer, hints), size, cursor)

    async def watch(self, *video_ids: int, viewer: int = VIEWER, watched_ms: int = 5000) -> None:
        """Watch videos, to the end unless said otherwise."""
        for video_id in video_ids:
            self.watched += 1
            watch = ReportedWatch(f"00000000-0000-4000-8000-{self.watched:012d}", video_id, watched_ms)
            result = await self.watching.record_watches(Caller(user_id=viewer), [watch])
            assert result.accepted_count == 1, result
            self.world.clock.advance(0.01)

    @property
    def calls(self) -> Counter[str]:
        """Calls of ports so far."""
        return self.world.calls


@asynccontextmanager
async def feed_bench(folder: Path, settings: FeedSettings | None = None, **engines: Any) -> AsyncIterator[Bench]:
    """A bench over an empty world; files in `folder`. `engines`: URL settings by name, as `wide_url`."""
    clock = FakeClock()
    async with test_platform(folder, clock=clock, **engines) as platform:
        await create_tables(platform, "feed", metadata)
        async with process(World(clock), platform, settings) as bench:
            yield bench


@asynccontextmanager
async def process(
    world: World, platform: BenchPlatform, settings: FeedSettings | None = None, *, peers: Peers | None = None
) -> AsyncIterator[Bench]:
    """One process of feed_svc: another one shares database and cache, and no memory."""
    async with AsyncExitStack() as stack:
        db = connect(platform.settings.service_db_url("feed"))
        stack.push_async_callback(db.close)
        uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
        context = FeedContext(platform, db, uow, settings or fast_settings(), stack)
        fanout = await build_fanout(context, graph=world, videos=world)
        feeds = await build_feeds(context, fanout, trending=world, peers=peers or world.peers)
        watching = WatchCommands(
            SqlWatchLog(uow), world, feeds.cursors, uow, context.settings, platform.clock, acted=feeds.acted
        )
        yield Bench(world, platform, context, fanout, feeds, watching)


def fast_settings(**changes: object) -> FeedSettings:
    """Settings whose deadlines a slow machine keeps; ports that hang are given up quickly."""
    values: dict[str, object] = {
        "source_deadline_ms": 2000,
        "ranking_deadline_ms": 2000,
        "visibility_deadline_ms": 2000,
        "relations_deadline_ms": 2000,
        "stale_after_ms": 5000,
        "rerank_wait_ms": 5000,
    }
    return FeedSettings.model_validate(values | changes)


def small_world(world: World, count: int = 40, authors: int = 8) -> list[int]:
    """`count` videos by `authors` (100, 101, ...), topics in turn."""
    return [world.add(1000 + i, 100 + i % authors, TOPICS[i % len(TOPICS)], age_h=1 + i) for i in range(count)]


async def read_all(bench: Bench, *, size: int = 10, **options: object) -> list[FeedPage]:
    """All pages of a feed, from the first."""
    pages = [await bench.page(size=size, **options)]  # type: ignore[arg-type]
    while pages[-1].has_next:
        pages.append(await bench.page(pages[-1].edges[-1].cursor, size=size, **options))  # type: ignore[arg-type]
    return pages


def ids_of(*pages: FeedPage) -> list[int]:
    """The videos of pages, in order."""
    return [edge.video_id for page in pages for edge in page.edges]
