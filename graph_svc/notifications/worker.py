"""Turns events into facts and wakes the receivers' streams."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.notifications.facts import facts_of, topic_of
from graph_svc.notifications.store import Actors, Fact, NotificationLog
from svc_kit.bus.runner import Envelope
from svc_kit.wakeups import Wakeups

GROUP = "graph.notifications"
TOPICS = ("engagement", "follow", "video")


class NotificationHandler:
    """A handler of `GROUP`: appends what may be told, remembers what may not (so that a replay tells it neither)."""

    def __init__(self, log: NotificationLog, actors: Actors, wakeups: Wakeups) -> None:
        self._log = log
        self._actors = actors
        self._wakeups = wakeups

    async def handle(self, batch: Sequence[Envelope]) -> None:
        facts = [fact for envelope in batch for fact in facts_of(envelope.event)]
        told: list[Fact] = []
        skipped: list[Fact] = []
        for fact in facts:
            (skipped if await self._is_hidden(fact) else told).append(fact)
        await self._log.skip(skipped)
        appended = await self._log.append(told)
        if appended:
            await self._wakeups.wake({topic_of(fact.receiver_id) for fact in appended})

    async def _is_hidden(self, fact: Fact) -> bool:
        return bool(fact.actor_id and await self._actors.hidden(fact.receiver_id, [fact.actor_id]))
