"""Facts of one kind, target and day (UTC, of the fact's id) make one notification. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graph_svc.notifications.store import Fact, NotificationKind
from svc_kit.ids import EPOCH_MS, created_ms

DAY_MS = 24 * 3_600_000
SHOWN_ACTORS = 3

GroupKey = tuple[NotificationKind, str, int]


@dataclass(frozen=True, slots=True)
class Notification:
    """A group of facts, or a single one on a stream."""

    id: int
    """Its newest fact."""
    kind: NotificationKind
    actor_ids: Sequence[int]
    """Newest first, at most 3."""
    actor_count: int
    video_id: int
    comment_id: int
    created_at_ms: int
    read: bool


@dataclass(slots=True)
class Group:
    """Facts that belong together, collected newest first."""

    newest: Fact
    actors: dict[int, None] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Take in the next older fact."""
        if fact.actor_id:
            self.actors.setdefault(fact.actor_id)

    def notification(self, mark: int) -> Notification:
        """The group as it is shown; `mark` is the receiver's watermark."""
        fact = self.newest
        return Notification(
            *(fact.id, fact.kind, list(self.actors)[:SHOWN_ACTORS], len(self.actors)),
            *(fact.video_id, fact.comment_id, fact.created_at_ms),
            read=fact.id <= mark,
        )


Groups = dict[GroupKey, Group]
"""In the order of their newest facts, newest first."""


def key_of(fact: Fact) -> GroupKey:
    """The group that a fact belongs to."""
    return fact.kind, fact.target, day_of(fact.id)


def collect(groups: Groups, fact: Fact) -> None:
    """Add the next older fact to its group."""
    groups.setdefault(key_of(fact), Group(fact)).add(fact)


def single(fact: Fact, mark: int) -> Notification:
    """A fact by itself."""
    groups: Groups = {}
    collect(groups, fact)
    return groups[key_of(fact)].notification(mark)


def day_of(id_: int) -> int:
    """The day (UTC, since 1970) on which an id was issued."""
    return created_ms(id_) // DAY_MS


def first_id(day: int) -> int:
    """The least id that can be issued on a day."""
    return max(0, day * DAY_MS - EPOCH_MS) << 22
