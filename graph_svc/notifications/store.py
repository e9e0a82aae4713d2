"""The ports of notifications: the log of facts, the watermarks, and whose facts a viewer may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller, Unit


class NotificationKind(StrEnum):
    """What a fact is about."""

    LIKE = "LIKE"
    COMMENT = "COMMENT"
    REPLY = "REPLY"
    FOLLOW = "FOLLOW"
    MENTION = "MENTION"
    VIDEO_READY = "VIDEO_READY"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened to a receiver."""

    receiver_id: int
    id: int
    """The id of its event; grows with time. Unique for its receiver."""
    kind: NotificationKind
    actor_id: int
    """Who did it; 0 for nobody."""
    target: str
    """What it was done to: `v:<video>`, `c:<comment>` or empty for the receiver. Groups facts of a kind and day."""
    subject: str
    """What may be told once a day for a kind and actor: the target, or the new comment."""
    video_id: int
    comment_id: int
    created_at_ms: int


class NotificationLog(Protocol):
    """Facts by receiver, appended once and never changed. An adapter may keep them in buckets of time, which it knows
    from their ids, and forget them after a while: every read names a receiver. Raises UNAVAILABLE."""

    async def append(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Insert facts; those that were not in the log before. Of one receiver, kind, actor, subject and day (UTC, of
        the id) only the first appended stays, whichever it is; of two that are appended at the same moment by two
        workers, both may. Durable on return; appending again changes nothing, and completes what was cut off."""
        ...

    async def skip(self, facts: Sequence[Fact]) -> None:
        """Remember that these facts are not to be told: appending one of them later changes nothing. Another fact of
        the same receiver, kind, actor, subject and day can still be appended."""
        ...

    async def newest(self, receiver_id: int, before_id: int, above_id: int, limit: int) -> Sequence[Fact]:
        """Facts with `above_id` < id < `before_id` (0: no bound), by descending id."""
        ...

    async def get(self, receiver_id: int, ids: Sequence[int]) -> Mapping[int, Fact]:
        """Facts of this receiver by id; unknown ones are left out."""
        ...

    async def after(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        """The first facts that arrived in the log after fact `fact_id`, in the order they arrived, which is not quite
        that of their ids. 0: from the beginning; not in the log: those with a greater id. While several append, a
        fact may show up behind others that had been read: a few seconds late at most."""
        ...

    async def missed(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        """The last `limit` of all that `after` would answer, in the order they arrived."""
        ...

    async def latest(self, receiver_id: int) -> int:
        """The id of the fact that arrived last; 0 for none."""
        ...


class MarkTx(Unit, Protocol):
    """One write transaction over a watermark."""

    async def raise_mark(self, user_id: int, up_to_id: int) -> None:
        """Move the watermark up to a fact, never back."""
        ...


class MarkStore(Protocol):
    """The truth of what has been read: one watermark an account."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[MarkTx]:
        """Open a write transaction: committed at the end, rolled back when the block raises."""
        ...

    async def mark(self, user_id: int) -> int:
        """The greatest fact id that has been read; 0 for none."""
        ...


class Actors(Protocol):
    """Whose doings concern whom."""

    async def hidden(self, viewer_id: int, user_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of the accounts that a block, or the viewer's mute, keeps from the viewer."""
        ...
