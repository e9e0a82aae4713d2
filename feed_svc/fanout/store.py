"""Ports of fan-out. Inboxes are a cache, author timelines a projection; jobs and activity are the service's truth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from svc_kit.unit import Caller, Unit

Key = tuple[int, int]
"""Place in a list that is newest first: milliseconds of publishing since 1970-01-01 UTC, video id."""


@dataclass(frozen=True, slots=True)
class Post:
    """One video of an author, as lists of the newest need it."""

    video_id: int
    author_id: int
    published_at_ms: int

    @property
    def key(self) -> Key:
        """Its place among posts; the greatest is the newest."""
        return (self.published_at_ms, self.video_id)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What an author timeline knows of one video."""

    post: Post
    visibility: str
    """PUBLIC, FOLLOWERS or PRIVATE."""
    hashtags: tuple[str, ...]
    duration_ms: int
    language: str
    version: int
    """The video's entity version; a lower one never replaces a higher one."""
    deleted: bool = False


class TimelineStore(Protocol):
    """Author timelines (wide rows: partition author and time, newest first). A projection of `video.*`. Raises
    UNAVAILABLE."""

    async def put(self, entries: Sequence[TimelineEntry]) -> None:
        """Insert or replace by video, unless a version as high is there; note that the videos were heard of now."""
        ...

    async def newest(
        self, author_ids: Sequence[int], limit: int, *, before: Key | None = None, public_only: bool = False
    ) -> Sequence[Post]:
        """Newest first posts of these authors below `before`; neither PRIVATE nor deleted ones."""
        ...

    async def newest_public(self, limit: int) -> Sequence[TimelineEntry]:
        """The newest PUBLIC videos of all authors."""
        ...

    async def get(self, video_ids: Sequence[int]) -> Sequence[TimelineEntry]:
        """Those of these videos that are known and not deleted, in any order."""
        ...

    async def remove_unheard(self, before_ms: int) -> int:
        """Mark videos deleted that were not put since `before_ms`; returns how many. Reads all there are."""
        ...


@dataclass(frozen=True, slots=True)
class Inbox:
    """A viewer's inbox: newest first."""

    posts: tuple[Post, ...]
    is_full: bool
    """It was trimmed or may have been: below its last post, which it has then, there may be more."""


class InboxStore(Protocol):
    """Inboxes by viewer. A cache: any of them may be lost at any moment, and is then absent, never partial.

    An inbox belongs to the set of followees (its `digest`, below 2**63) that it was filled for. It ends some time after
    it was filled, however often it is read: whatever went wrong with it has an end too. All raise UNAVAILABLE.
    """

    async def read(self, user_id: int, digest: int) -> Inbox | None:
        """The inbox, if it is there, filled and for this set. None: fill it."""
        ...

    async def begin_fill(self, user_id: int) -> int:
        """Empty it. From now on pushes arrive, while `read` answers None until `fill`: call it before pulling.

        Answers a token of this filling."""
        ...

    async def fill(self, user_id: int, token: int, digest: int, posts: Sequence[Post], *, brief: bool = False) -> bool:
        """Add what was pulled and mark it filled for this set; `brief`: it ends soon. False, and nothing is done, when
        this filling is over: another one began or the cache was lost, and pushes since may have gone nowhere."""
        ...

    async def push(self, post: Post, user_ids: Sequence[int]) -> int:
        """Add a post to those inboxes that exist (filled or being filled), trimmed; returns how many. Idempotent."""
        ...

    async def withdraw(self, post: Post, user_ids: Sequence[int]) -> None:
        """Remove a post from inboxes. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class FanoutJob:
    """A video to be pushed to, or withdrawn from, its author's followers."""

    post: Post
    version: int
    """The video's entity version that asked for it."""
    withdraw: bool = False
    last_follower_id: int = 0
    """Followers up to this id are done."""


@dataclass(frozen=True, slots=True)
class FollowerPage:
    """Some followers of an author by ascending id."""

    user_ids: Sequence[int]
    upto_id: int
    """Followers up to this id have been looked at; 0: all."""


class FanoutJobs(Protocol):
    """Jobs by video, and which authors are pulled."""

    async def put(self, job: FanoutJob) -> None:
        """Queue a job; one of the same video with a version as high stays as it is, a lower one is replaced."""
        ...

    async def claim(self, holder: str, lease_ms: int) -> FanoutJob | None:
        """The next job neither done nor leased, leased to `holder`. A killed holder's jobs are claimed again."""
        ...

    async def advance(self, job: FanoutJob, holder: str, lease_ms: int, *, done: bool) -> bool:
        """Record `job.last_follower_id` and prolong the lease, or finish; false when the job was replaced or lost."""
        ...

    async def prune(self, limit: int) -> int:
        """Remove finished jobs; returns how many."""
        ...

    async def set_pulled(self, author_id: int) -> None:
        """From now on this author's followers pull."""
        ...

    async def pulled_among(self, author_ids: Sequence[int]) -> frozenset[int]:
        """Which of these authors are pulled."""
        ...


class ActivityTx(Unit, Protocol):
    """One write transaction over activity."""

    async def touch(self, user_id: int, now_ms: int) -> None:
        """The viewer reads now."""
        ...


class ActivityStore(Protocol):
    """When viewers last read a feed."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[ActivityTx]:
        """Open a write transaction: committed at the end, rolled back when the block raises."""
        ...

    async def active(self, since_ms: int, after_id: int, limit: int) -> Sequence[int]:
        """Viewers active since then, by ascending id above `after_id`."""
        ...

    async def page(self, after_id: int, limit: int) -> Sequence[tuple[int, int]]:
        """All viewers by ascending id above `after_id`, and when each was last active."""
        ...


class FollowGraph(Protocol):
    """The follow graph as fan-out asks it; answered by graph_svc. All raise UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def follower_count(self, author_id: int) -> int:
        """How many follow this account."""
        ...

    async def active_followers(self, author_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        """Followers by ascending id above `after_id` who were active since then as far as the graph knows, and those of
        whom it knows nothing. At most `limit`, perhaps fewer or none: there are more unless `upto_id` is 0."""
        ...

    async def known_activity(self, user_id: int) -> int:
        """The activity by which `active_followers` judges this account, in milliseconds since 1970; 0: none is known.
        It hears of activity late or never, and never forgets a later one."""
        ...

    async def followee_ids(self, user_id: int) -> Sequence[int]:
        """Whom this account follows, at most 5000."""
        ...


class PublishedVideos(Protocol):
    """All published videos, for rebuilding; answered by media_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def page(self, after_id: int, limit: int) -> Sequence[TimelineEntry]:
        """Videos by ascending id above `after_id`; fewer than `limit` only at the end."""
        ...
