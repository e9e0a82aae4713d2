"""The ports of the follow graph: truth, its projection, and the accounts that edges connect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller, Unit


class EdgeKind(StrEnum):
    """What one account does to another; the first word of the entity of its events."""

    FOLLOW = "follow"
    BLOCK = "block"
    MUTE = "mute"


@dataclass(frozen=True, slots=True)
class Edge:
    """One account's follow, block or mute of another. An ended one stays, so that its version only grows."""

    from_id: int
    to_id: int
    active: bool
    version: int
    """From 1; one higher with each change."""
    event_id: int
    """The event of the last change. Ids grow with time: lists are ordered by it."""


@dataclass(frozen=True, slots=True)
class Relation:
    """How a viewer stands to another account."""

    user_id: int
    follows: bool = False
    followed_by: bool = False
    blocks: bool = False
    blocked_by: bool = False
    mutes: bool = False

    @property
    def blocked(self) -> bool:
        """A block stands between them, whoever set it."""
        return self.blocks or self.blocked_by


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An account at the other end of a follow."""

    user_id: int
    since_id: int
    """The event that began the follow."""


@dataclass(frozen=True, slots=True)
class Degree:
    """Numbers of one account as the graph has them, and its edges with a viewer that those numbers include."""

    followers: int = 0
    followees: int = 0
    from_viewer: bool = False
    """The viewer's follow of it is in `followers`."""
    to_viewer: bool = False
    """Its follow of the viewer is in `followees`."""
    severed: int = 0
    """How many of the accounts named as severed are in `followers`."""


@dataclass(frozen=True, slots=True)
class FollowerPage:
    """Some followers of an account by ascending id, and how far it was looked."""

    user_ids: Sequence[int]
    upto_id: int
    """Followers up to this id have been looked at; 0: all."""


@dataclass(frozen=True, slots=True)
class FriendOfFriend:
    """An account that followees of a viewer follow."""

    user_id: int
    paths: int
    """How many of the viewer's followees follow it."""
    via_ids: tuple[int, ...]
    """The newest few of them in the graph, ascending."""


class FollowTx(Unit, Protocol):
    """One write transaction over edges."""

    async def edge(self, kind: EdgeKind, from_id: int, to_id: int) -> Edge | None:
        """The edge as it is now, locked until the end; None when there never was one."""
        ...

    async def put(self, kind: EdgeKind, edge: Edge) -> None:
        """Write the edge, new or changed."""
        ...

    async def relation(self, viewer_id: int, user_id: int) -> Relation:
        """How the viewer stands to the account, with what this transaction wrote."""
        ...


class FollowStore(Protocol):
    """The truth: every edge there ever was, keyed by who acts."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[FollowTx]:
        """Open a write transaction: committed at the end, rolled back when the block raises."""
        ...

    async def relations(self, viewer_id: int, user_ids: Sequence[int]) -> Mapping[int, Relation]:
        """How the viewer stands to each of at most 1000 accounts; an entry for every id."""
        ...

    async def follow(self, follower_id: int, followee_id: int) -> Edge | None:
        """The follow, active or ended."""
        ...

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        """Whom the account follows, newest first, only those whose `since_id` is below `before_id` (0: all)."""
        ...

    async def followee_count(self, user_id: int) -> int:
        """How many the account follows."""
        ...

    async def blocking(self, user_id: int) -> AbstractSet[int]:
        """Whom the account blocks."""
        ...

    async def blocked_by(self, user_id: int) -> AbstractSet[int]:
        """Who blocks the account."""
        ...

    async def muting(self, user_id: int) -> AbstractSet[int]:
        """Whom the account mutes."""
        ...

    async def follows(self, keys: Sequence[tuple[int, int]]) -> Sequence[Edge]:
        """Those of the follows (from_id, to_id) that there are, active or ended, in any order."""
        ...

    async def follows_after(self, key: tuple[int, int], limit: int) -> Sequence[Edge]:
        """Follows, also ended ones, with (from_id, to_id) above `key`, ascending: to rebuild the projection."""
        ...


class FollowGraph(Protocol):
    """The projection of active follows: lists, degrees and short paths. Written by one worker for each follower.

    What a write has done is seen by every later read of this process. A read that runs beside it sees of each follow
    either what was or what is now, but may see a part of the batch. A read raises `AppError` UNAVAILABLE when the graph
    can't be reached.

    An ended follow is kept for its version until `prune`: after that an older beginning would be taken for a new
    follow, so whoever applies changes from before that time takes them from truth (`FollowStore.follows`).
    """

    async def apply(self, edges: Sequence[Edge]) -> None:
        """Take over follows whose version is above the one held; others are ignored, so that redelivery, reordering and
        replay change nothing. The adapter sorts and batches. Durable on return."""
        ...

    async def replace(
        self, after: tuple[int, int], upto: tuple[int, int] | None, edges: Sequence[Edge], before_id: int
    ) -> None:
        """Make the follows with `after` < (from_id, to_id) <= `upto` (None: no end) exactly `edges`. What an event with
        an id of `before_id` or above has changed stays, unless `edges` holds a higher version."""
        ...

    async def followers(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        """Who follows the account, newest first, only those whose `since_id` is below `before_id` (0: all)."""
        ...

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        """Whom the account follows, newest first, only those whose `since_id` is below `before_id` (0: all)."""
        ...

    async def prune(self, before_id: int, limit: int) -> int:
        """Forget at most `limit` follows that ended by an event with an id below `before_id`; how many they were. What
        another writer changes meanwhile stays. Safe to repeat, to stop anywhere and to run twice at once."""
        ...

    async def note_active(self, seen: Mapping[int, int]) -> None:
        """Accounts read a feed at these milliseconds since 1970. The greatest of an account counts, so that redelivery,
        reordering and replay change nothing. Durable on return."""
        ...

    async def active_at(self, user_id: int) -> int:
        """The greatest that `note_active` was told of the account, in milliseconds since 1970; 0: nothing."""
        ...

    async def follower_ids(self, user_id: int, after_id: int, limit: int) -> Sequence[int]:
        """Who follows the account, by ascending id above `after_id`; fewer than `limit` only at the end."""
        ...

    async def active_follower_ids(self, user_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        """Those of the followers above `after_id` who were active at `since_ms` or later, or of whom no activity is
        known, at most `limit` of them. Looks at a bounded number of followers: the page may be short, even empty, and
        there is more unless `upto_id` is 0."""
        ...

    async def degrees(
        self, user_ids: Sequence[int], viewer_id: int = 0, severed_ids: Sequence[int] = ()
    ) -> Mapping[int, Degree]:
        """Numbers of accounts, all of one moment, with their edges to the viewer; an entry for every id."""
        ...

    async def mutuals(self, user_id: int, limit: int) -> Sequence[int]:
        """Accounts that the account follows and that follow it, ascending."""
        ...

    async def friends_of_friends(self, viewer_id: int, limit: int) -> Sequence[FriendOfFriend]:
        """Accounts that the viewer's followees follow, and the viewer does not: most paths first, then by ascending id.
        At most the viewer's newest 1000 followees count; each result names at most 10 of them."""
        ...

    async def popular(self, limit: int) -> Sequence[tuple[int, int]]:
        """Accounts with the most followers and how many, most first, then by ascending id."""
        ...


class Accounts(Protocol):
    """The accounts that exist."""

    async def existing(self, user_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of the ids that are accounts."""
        ...
