"""Whatever becomes of activity on its way to the follow graph, a published video is in the feed of a follower who
reads, at the latest so long after its fan-out as a brief inbox lasts.

Inboxes here end by the test's clock, which no cache does; what may happen in between two steps of a fan-out, of a
filling and of an event's way is drawn by lot.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from feed_svc.fanout.activity import ActivityRules
from feed_svc.fanout.commands import FanoutCommands
from feed_svc.fanout.queries import FollowedVideos
from feed_svc.fanout.store import FanoutJob, FollowerPage, Inbox, Key, Post, TimelineEntry
from feed_svc.settings import FeedSettings
from svc_kit.clock import now_ms
from svc_kit.errors import AppError, unavailable
from tests.support.clock import FakeClock

AUTHOR, VIEWER = 100, 7
FILLING_MS = 60_000
STEPS = 60
SETTINGS = FeedSettings(follower_page=2)
LONG = (600, 5 * 3600, 7 * 3600, 23 * 3600, 31 * 3600, 100 * 3600)


@dataclass
class _Box:
    """One inbox."""

    ends_ms: int
    token: int
    digest: int = -1
    posts: set[Post] = field(default_factory=set)


@dataclass
class Stage:
    """The ports of fan-out, whose answers come after a while drawn by lot; jobs, timelines and inboxes in memory."""

    dice: random.Random
    clock: FakeClock = field(default_factory=FakeClock)
    rules: ActivityRules = field(default_factory=lambda: ActivityRules.of(SETTINGS))
    heard_ms: int = 0
    graph_down: bool = False
    boxes: dict[int, _Box] = field(default_factory=dict)
    entries: list[TimelineEntry] = field(default_factory=list)
    jobs: list[FanoutJob] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def now(self) -> int:
        return now_ms(self.clock)

    async def turn(self) -> None:
        """Others may go first."""
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)

    # ---- The follow graph: the viewer, a follower who never comes, one of whom nothing is known ----

    async def follower_count(self, author_id: int) -> int:
        return 3

    async def active_followers(self, author_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        await self.turn()
        if self.graph_down:
            raise unavailable("down")
        page = [user_id for user_id in (3, VIEWER, 9) if user_id > after_id][:limit]
        heard = {3: 1, VIEWER: self.heard_ms or since_ms}
        found = [user_id for user_id in page if heard.get(user_id, since_ms) >= since_ms]
        self.seen["passed over"] += VIEWER in page and VIEWER not in found
        await self.turn()
        return FollowerPage(found, page[-1] if len(page) == limit else 0)

    async def known_activity(self, user_id: int) -> int:
        await self.turn()
        if self.graph_down:
            raise unavailable("down")
        answer = self.heard_ms
        await self.turn()
        return answer

    async def followee_ids(self, user_id: int) -> Sequence[int]:
        return [AUTHOR]

    # ---- Timelines ----

    async def put(self, entries: Sequence[TimelineEntry] | FanoutJob) -> None:
        await self.turn()
        if isinstance(entries, FanoutJob):
            self.jobs.append(entries)
        else:
            self.entries += entries

    async def newest(
        self, author_ids: Sequence[int], limit: int, *, before: Key | None = None, public_only: bool = False
    ) -> Sequence[Post]:
        await self.turn()
        found = sorted((entry.post for entry in self.entries), key=lambda post: post.key, reverse=True)
        await self.turn()
        return found

    # ---- Jobs ----

    async def claim(self, holder: str, lease_ms: int) -> FanoutJob | None:
        return self.jobs.pop() if self.jobs else None

    async def advance(self, job: FanoutJob, holder: str, lease_ms: int, *, done: bool) -> bool:
        await self.turn()
        return True

    async def pulled_among(self, author_ids: Sequence[int]) -> frozenset[int]:
        await self.turn()
        return frozenset()

    # ---- Inboxes ----

    def box(self, user_id: int) -> _Box | None:
        box = self.boxes.get(user_id)
        return box if box is not None and box.ends_ms > self.now else None

    async def read(self, user_id: int, digest: int) -> Inbox | None:
        await self.turn()
        box = self.box(user_id)
        if box is None or box.digest != digest:
            return None
        return Inbox(tuple(sorted(box.posts, key=lambda post: post.key, reverse=True)), is_full=False)

    async def begin_fill(self, user_id: int) -> int:
        await self.turn()
        token = self.dice.getrandbits(60)
        self.boxes[user_id] = _Box(self.now + FILLING_MS, token)
        return token

    async def fill(self, user_id: int, token: int, digest: int, posts: Sequence[Post], *, brief: bool = False) -> bool:
        await self.turn()
        box = self.box(user_id)
        if box is None or box.token != token or box.digest != -1:
            return False
        lasts_ms = SETTINGS.brief_inbox_s * 1000 if brief else self.rules.lasting_ms
        self.seen["brief" if brief else "lasting"] += 1
        box.digest, box.ends_ms = digest, self.now + lasts_ms
        box.posts |= set(posts)
        return True

    async def push(self, post: Post, user_ids: Sequence[int]) -> int:
        await self.turn()
        for user_id in user_ids:
            if (box := self.box(user_id)) is not None:
                box.posts.add(post)
                self.seen["pushed"] += 1
        return len(user_ids)


class Story:
    """A viewer who comes and goes, an author who publishes, and activity that is heard of late, twice or never."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.stage = stage = Stage(self.dice)
        self.noted_ms = 0
        self.on_their_way: list[int] = []
        self.fanned_out: dict[int, int] = {}
        self.running: set[asyncio.Task[None]] = set()
        ports = (stage, stage, stage, stage, SETTINGS, stage.clock)
        self.followed = FollowedVideos(*ports)  # type: ignore[arg-type]
        self.commands = FanoutCommands(*ports, queued=lambda: None)  # type: ignore[arg-type]

    async def run(self) -> None:
        """A life."""
        for _ in range(STEPS):
            match self.dice.randrange(10):
                case 0 | 1 | 2:
                    self._begin(self._read())
                case 3 | 4 | 5:
                    self._begin(self._publish(len(self.fanned_out) + len(self.running) + self.dice.getrandbits(40)))
                case 6 | 7:
                    self._hear()
                case 8:
                    self.stage.graph_down = not self.stage.graph_down and self.dice.random() < 0.3
                case _:
                    await self._pass()
            for _ in range(self.dice.randrange(12)):
                await asyncio.sleep(0)
        self.stage.graph_down = False
        await self._settle()
        await self._read()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.running.add(asyncio.create_task(work))

    async def _settle(self) -> None:
        while self.running:
            self.stage.graph_down = False
            done, self.running = self.running, set()
            await asyncio.gather(*done)

    async def _pass(self) -> None:
        """A moment, or a long time; nothing that is under way takes that long."""
        if self.dice.random() < 0.4:
            self.stage.clock.advance(self.dice.choice((1, 10, 20)))
            return
        await self._settle()
        self.stage.clock.advance(self.dice.choice((70, 130, *LONG)))

    def _hear(self) -> None:
        if self.on_their_way:
            at_ms = self.on_their_way.pop(self.dice.randrange(len(self.on_their_way)))
            chance = self.dice.random()
            if chance > 0.25:
                self.stage.heard_ms = max(self.stage.heard_ms, at_ms)
            if chance > 0.9:
                self.on_their_way.append(at_ms)

    async def _read(self) -> None:
        began = self.stage.now
        if began - self.noted_ms >= self.stage.rules.noted_every_ms:
            self.noted_ms = began
            self.on_their_way.append(began)
        due = {v for v, at_ms in self.fanned_out.items() if at_ms <= began - SETTINGS.brief_inbox_s * 1000}
        found = {post.video_id for post in await self.followed.newest(VIEWER, frozenset({AUTHOR}), 10_000)}
        assert due <= found, f"{len(due - found)} videos are hidden"
        self.stage.seen["read"] += 1

    async def _publish(self, video_id: int) -> None:
        post = Post(video_id, AUTHOR, self.stage.now)
        await self.commands.publish(TimelineEntry(post, "PUBLIC", (), 5000, "en", 1))
        while self.stage.jobs:
            job = self.stage.jobs[-1]
            try:
                await self.commands.run_next("me")
            except AppError:
                # As a lease that ran out: somebody takes it up again.
                self.stage.jobs.append(replace(job, last_follower_id=0))
                await asyncio.sleep(0)
                continue
            self.fanned_out[job.post.video_id] = self.stage.now


@pytest.mark.parametrize("part", range(8))
async def test_no_video_is_hidden_for_longer_than_a_brief_inbox_lasts(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part * 1000, part * 1000 + 60):
        story = Story(seed)
        await story.run()
        seen += story.stage.seen
    # All that the rules are for did happen.
    assert all(seen[what] > 20 for what in ("read", "pushed", "passed over", "brief", "lasting")), seen


async def test_what_was_fanned_out_before_the_graph_heard_of_the_viewer_is_pulled() -> None:
    story = Story(1)
    stage = story.stage
    stage.heard_ms = 1
    hear = stage.known_activity

    async def known_activity(user_id: int) -> int:
        # The whole fan-out, by a graph that has not heard yet; the news comes just before the answer.
        await story._publish(5)
        stage.heard_ms = stage.now - 3_600_000
        return await hear(user_id)

    stage.known_activity = known_activity  # type: ignore[method-assign]
    assert [post.video_id for post in await story.followed.newest(VIEWER, frozenset({AUTHOR}), 10)] == [5]
    assert stage.seen["lasting"] == stage.seen["passed over"] == 1
    assert [post.video_id for post in await story.followed.newest(VIEWER, frozenset({AUTHOR}), 10)] == [5]
