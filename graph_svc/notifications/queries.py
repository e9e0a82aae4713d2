"""Everything that reads notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from graph_svc.notifications.arrivals import Arrivals
from graph_svc.notifications.facts import topic_of
from graph_svc.notifications.grouping import (
    Groups,
    Notification,
    collect,
    day_of,
    first_id,
    key_of,
    single,
)
from graph_svc.notifications.store import Actors, Fact, MarkStore, NotificationLog
from svc_kit.clock import Clock
from svc_kit.paging import TokenSigner, page_size
from svc_kit.wakeups import Wakeups

CHUNK_FACTS = 200
MAX_SCANNED_FACTS = 10_000
"""Of a busier day only the newest are grouped, and counted, in one answer."""
MAX_UNREAD = 1000
MAX_MISSED = 100
POLL_S = 2.0
"""How long a lost wake-up can delay a fact on a stream."""


@dataclass(frozen=True, slots=True)
class ListedNotification:
    """One entry of a list, and the token that continues after it."""

    notification: Notification
    page_token: str


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """A page of notifications; the token is empty at the end."""

    entries: Sequence[ListedNotification]
    next_page_token: str


class NotificationQueries:
    """Groups, unread numbers and the stream. Whom a block or mute hides is left out of all of them."""

    def __init__(
        self,
        log: NotificationLog,
        marks: MarkStore,
        actors: Actors,
        wakeups: Wakeups,
        tokens: TokenSigner,
        clock: Clock,
    ) -> None:
        self._log = log
        self._marks = marks
        self._actors = actors
        self._wakeups = wakeups
        self._tokens = tokens
        self._clock = clock

    async def page(self, viewer_id: int, size: int, token: str) -> NotificationPage:
        """A page of groups, the one with the newest fact first."""
        limit, bound = page_size(size), str(viewer_id)
        after = int(self._tokens.open(token, bound_to=bound)[0]) if token else 0

        def place(groups: Groups) -> list[int]:
            return [group.newest.id for group in groups.values() if not after or group.newest.id < after]

        def complete(groups: Groups, reached_id: int) -> bool:
            ids = place(groups)
            return len(ids) > limit and day_of(reached_id) < day_of(ids[limit - 1])

        # From the start of the cursor's day: a group shown before must not come again by its older facts.
        groups = await self._scan(viewer_id, first_id(day_of(after) + 1) if after else 0, 0, complete)
        mark = await self._marks.mark(viewer_id)
        shown = [group.notification(mark) for group in groups.values() if not after or group.newest.id < after]
        entries = [ListedNotification(n, self._tokens.seal(n.id, bound_to=bound)) for n in shown[:limit]]
        return NotificationPage(entries, entries[-1].page_token if len(shown) > limit else "")

    async def batch(self, viewer_id: int, ids: Sequence[int]) -> Sequence[Notification]:
        """The groups that facts belong to, in the order asked."""
        facts = await self._log.get(viewer_id, ids)
        groups: Groups = {}
        for day in {day_of(fact_id) for fact_id in facts}:
            groups.update(await self._scan(viewer_id, first_id(day + 1), max(0, first_id(day) - 1), _never))
        mark = await self._marks.mark(viewer_id)
        keys = [key_of(facts[fact_id]) for fact_id in ids if fact_id in facts]
        return [groups[key].notification(mark) for key in keys if key in groups]

    async def unread_count(self, viewer_id: int, mark: int | None = None) -> int:
        """How many groups have a fact above the watermark (or above `mark`), at most 1000."""
        above = await self._marks.mark(viewer_id) if mark is None else mark
        groups = await self._scan(viewer_id, 0, above, lambda groups, _: len(groups) >= MAX_UNREAD)
        return min(len(groups), MAX_UNREAD)

    async def _scan(
        self, viewer_id: int, before_id: int, above_id: int, complete: Callable[[Groups, int], bool]
    ) -> Groups:
        """Group visible facts from `before_id` down, until `complete(groups, id reached)`."""
        groups: Groups = {}
        for _ in range(MAX_SCANNED_FACTS // CHUNK_FACTS):
            facts = await self._log.newest(viewer_id, before_id, above_id, CHUNK_FACTS)
            for fact in await self._visible(viewer_id, facts):
                collect(groups, fact)
            if len(facts) < CHUNK_FACTS:
                break
            before_id = facts[-1].id
            if complete(groups, before_id):
                break
        return groups

    async def _visible(self, viewer_id: int, facts: Sequence[Fact]) -> list[Fact]:
        hidden = await self._actors.hidden(viewer_id, sorted({fact.actor_id for fact in facts} - {0}))
        return [fact for fact in facts if fact.actor_id not in hidden]

    async def stream(self, viewer_id: int, after_id: int) -> AsyncIterator[Notification]:
        """Facts as they arrive, each once, without end: first those missed since `after_id`, at most 100 (0: none)."""
        async with self._wakeups.listen(topic_of(viewer_id)) as listener:
            facts = await self._log.missed(viewer_id, after_id, MAX_MISSED) if after_id else []
            # What was missed before the first of those is not sent.
            arrivals = Arrivals(facts[0].id if facts else after_id or await self._log.latest(viewer_id))
            fresh = [*facts[:1], *arrivals.take(facts[1:], self._clock.monotonic())]
            while True:
                for fact in fresh:
                    # Asked for each one: a block or mute holds from the moment it is set.
                    if await self._visible(viewer_id, [fact]):
                        yield single(fact, await self._marks.mark(viewer_id))
                if len(fresh) < MAX_MISSED:
                    await listener.wait(POLL_S)
                facts = await self._log.after(viewer_id, arrivals.after_id, MAX_MISSED + len(arrivals))
                fresh = arrivals.take(facts, self._clock.monotonic())


def _never(groups: Groups, reached_id: int) -> bool:
    return False
