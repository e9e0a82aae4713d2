"""People watching: sessions in turn, until everybody has seen as much as the sizes say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.simulate.behaviour import Session
from bench.simulate.plan import Clip, Person, Plan, Sizes, match
from bench.simulate.policies import Policy

BETWEEN_ROUNDS_S = 4 * 3600
PATIENCE = 3
"""Sessions without anything to see before a person gives up for good."""
PUBLISHED_BY = 0.6
"""Share of the views before the change of taste by which all new clips are there."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class View:
    """One clip on one person's screen, or on the rest of a page that they left."""

    person: int
    clip: Clip
    nth: int
    """Which of the person's watches, from 0; -1: served, never looked at."""
    session: int
    changed: bool
    """After the change of taste."""
    page: int = 0
    """Which page of the world it was on."""
    watched_ms: int = 0
    completed: bool = False
    skipped: bool = False


class _Audience:
    def __init__(self, policy: Policy, plan: Plan, sizes: Sizes, seed: int, name: str, progress: Progress) -> None:
        self.policy, self.plan, self.sizes = policy, plan, sizes
        self.seed, self.name, self.progress = seed, name, progress
        self.views: list[View] = []
        self.watched = dict.fromkeys((person.number for person in self.plan.people), 0)
        self.sessions = dict(self.watched)
        self.empty = dict(self.watched)
        self.coming = [clip for clip in self.plan.clips if clip.is_new]
        self.due = len(self.plan.people) * self.sizes.watches * PUBLISHED_BY / max(1, len(self.coming))
        self.seen = self.pages = 0

    async def phase(self, quota: int, *, changed: bool) -> None:
        """Sessions in turn until all have watched `quota` clips, or have nothing left to watch."""
        while True:
            left = [p for p in self.plan.people if self.watched[p.number] < quota and self.empty[p.number] < PATIENCE]
            if not left:
                return
            for person in left:
                await self._session(person, quota, changed=changed)
            await self.policy.pause(BETWEEN_ROUNDS_S)

    async def _session(self, person: Person, quota: int, *, changed: bool) -> None:
        number = self.sessions[person.number]
        self.sessions[person.number] += 1
        session = Session(random.Random(f"{self.seed}/{person.number}/{number}"))
        await self.policy.begin(person)
        began = self.watched[person.number]
        while self.watched[person.number] < quota:
            page = await self.policy.page(person, self.sizes.page)
            if not page or not await self._page(person, page, session, quota, number, changed=changed):
                break
        looked = self.watched[person.number] > began
        self.empty[person.number] = 0 if looked else self.empty[person.number] + 1

    async def _page(
        self, person: Person, page: Sequence[Clip], session: Session, quota: int, number: int, *, changed: bool
    ) -> bool:
        """Look at a page; whether the person stays."""
        taste = person.later if changed else person.taste
        seen, stays = [], True
        self.pages += 1
        for clip in page:
            if not stays or self.watched[person.number] >= quota:
                self.views.append(View(person.number, clip, -1, number, changed, self.pages))
                continue
            reaction = session.react(match(clip, taste), clip.quality, clip.kind.duration_ms)
            nth = self.watched[person.number]
            self.watched[person.number] += 1
            seen.append((clip, reaction))
            self.views.append(
                View(
                    *(person.number, clip, nth, number, changed, self.pages, reaction.watched_ms),
                    completed=reaction.completed,
                    skipped=reaction.skipped,
                )
            )
            stays = not session.leaves()
        await self.policy.told(person, seen)
        await self._publish_due(len(seen))
        total = len(self.plan.people) * (self.sizes.watches + self.sizes.after)
        self.progress(self.name, self.seen, total)
        return stays

    async def _publish_due(self, more: int) -> None:
        self.seen += more
        while self.coming and self.seen >= self.due * (1 + sum(c.is_new for c in self.plan.clips) - len(self.coming)):
            await self.policy.publish(self.coming.pop(0))


async def watch(policy: Policy, plan: Plan, sizes: Sizes, seed: int, name: str, progress: Progress) -> list[View]:
    """All that was shown, in order: first with the taste that people came with, then with another one."""
    audience = _Audience(policy, plan, sizes, seed, name, progress)
    await audience.phase(sizes.watches, changed=False)
    await audience.phase(sizes.watches + sizes.after, changed=True)
    return audience.views
