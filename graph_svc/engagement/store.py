"""The ports of engagement: its truth, and what it asks of videos, blocks and accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller, Unit


class Likable(StrEnum):
    """What can be liked."""

    VIDEO = "video"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Like:
    """Somebody's like. A like taken back stays, so that its version only grows."""

    user_id: int
    subject_id: int
    """The video or comment."""
    author_id: int
    """Who made it."""
    active: bool
    version: int


@dataclass(frozen=True, slots=True)
class StoredComment:
    """A comment or reply as it is stored."""

    id: int
    video_id: int
    author_id: int
    video_author_id: int
    parent_id: int
    """The top-level comment above it; 0 for none."""
    text: str | None
    """None once deleted."""
    version: int
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class StoredShare:
    """One share of a video."""

    id: int
    user_id: int
    video_id: int
    author_id: int
    channel: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class SeenVideo:
    """What engagement must know of a video that its caller may see."""

    id: int
    author_id: int
    allow_comments: bool


class EngagementTx(Unit, Protocol):
    """One write transaction over likes, comments and shares."""

    def new_id(self) -> int:
        """An id for a new row; within one process, in the order of the transactions."""
        ...

    async def like(self, kind: Likable, user_id: int, subject_id: int) -> Like | None:
        """The like as it is now, locked until the end; None when there never was one."""
        ...

    async def put_like(self, kind: Likable, like: Like) -> None:
        """Write a like, new or changed."""
        ...

    async def comment(self, comment_id: int) -> StoredComment | None:
        """A comment as it is now, locked until the end."""
        ...

    async def add_comment(self, comment: StoredComment) -> None:
        """Write a new comment, also into its writer's list."""
        ...

    async def erase_comment(self, comment: StoredComment, version: int) -> None:
        """Remove the text for good, and the comment from its writer's list."""
        ...

    async def standing_comments(self, video_id: int, limit: int) -> Sequence[StoredComment]:
        """Some comments and replies of a video that are not deleted."""
        ...

    async def add_share(self, share: StoredShare) -> None:
        """Write a new share."""
        ...

    async def is_gone(self, video_id: int) -> bool:
        """Whether `mark_gone` was called for a video."""
        ...

    async def mark_gone(self, video_id: int) -> None:
        """Nothing is to be written under this video any more."""
        ...


class EngagementStore(Protocol):
    """The truth of likes (keyed by user), comments (by video) and shares (by user)."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[EngagementTx]:
        """Open a write transaction: committed at the end, rolled back when the block raises."""
        ...

    async def liked(self, kind: Likable, user_id: int, subject_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of at most 500 subjects that the user likes."""
        ...

    async def comments(self, ids: Sequence[int]) -> Mapping[int, StoredComment]:
        """Comments by id, also deleted ones; unknown ids are left out."""
        ...

    async def top_level(self, video_id: int, before_id: int, limit: int) -> Sequence[StoredComment]:
        """Top-level comments of a video with ids below `before_id` (0: all), newest first; a deleted one only while it
        has replies that stand."""
        ...

    async def replies(self, video_id: int, parent_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        """Replies that stand, with ids above `after_id`, oldest first."""
        ...

    async def written(self, video_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        """The first comments and replies that stand with ids above `after_id`, ascending."""
        ...

    async def written_last(self, video_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        """The last `limit` of all that `written` would answer, ascending."""
        ...

    async def latest(self, video_id: int) -> int:
        """The greatest id of a video's comments and replies; 0 for none."""
        ...


class VideoDirectory(Protocol):
    """Videos as their caller may see them."""

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> Mapping[int, SeenVideo]:
        """Those of at most 500 videos that the caller may see. Raises `AppError` when that can't be told: it fails
        closed."""
        ...


class Blocks(Protocol):
    """Blocks between accounts."""

    async def blocked(self, viewer_id: int, user_ids: Sequence[int]) -> AbstractSet[int]:
        """Those of the accounts that a block, of either side, keeps from the viewer."""
        ...


class Names(Protocol):
    """Accounts by user name."""

    async def ids(self, usernames: Sequence[str]) -> Sequence[int]:
        """The accounts with these names, in order, each once; unknown ones are left out."""
        ...
