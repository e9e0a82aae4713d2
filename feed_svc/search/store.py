"""Ports of search: the index, the videos of hashtags, and what other services and domains answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller


class Kind(StrEnum):
    """What can be found."""

    VIDEO = "video"
    USER = "user"
    HASHTAG = "hashtag"


Key = tuple[Kind, str]
"""A document's identity: its kind, and the decimal id of a video or account or the normalised name of a hashtag."""


@dataclass(frozen=True, slots=True)
class Document:
    """What can be found of one thing."""

    key: Key
    version: int
    names: tuple[str, ...] = ()
    """What it is called: user name and display name, the hashtag. Weighs most, but a video's hashtags no more than its
    text."""
    text: str = ""
    """A video's caption. Weighs less."""
    author_id: int = 0
    author_names: tuple[str, ...] = ()
    """Of a video's author. Weighs least."""
    popularity: int = 0
    """Any count that grows with interest; only its magnitude matters, among equally good matches."""
    created_at_ms: int = 0
    """Among equally good and popular matches the newest comes first."""


@dataclass(frozen=True, slots=True)
class Put:
    """Make a document so, unless a version as high or higher was put or removed."""

    document: Document


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a document out, unless a version as high or higher was put or removed. A lower version stays out then."""

    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class SetPopularity:
    """Change what is there; nothing there: nothing happens. Keeps the version."""

    key: Key
    popularity: int


@dataclass(frozen=True, slots=True)
class SetAuthorNames:
    """Change the author's names in all their videos that are there. Keeps the versions."""

    author_id: int
    names: tuple[str, ...]


Change = Put | Remove | SetPopularity | SetAuthorNames


@dataclass(frozen=True, slots=True)
class Hit:
    """One result."""

    key: Key
    score: float
    """Comparable within one answer; higher is better."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the index knows of a document."""

    version: int
    popularity: int


class Turn(Protocol):
    """The right to write an index, which one process has at a time. Engines that can't tell a late write from an early
    one write under it alone."""

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """Have it inside the context, however many do in this process. Raises UNAVAILABLE when another process keeps
        it."""
        ...


class IndexWriter(Protocol):
    """Takes changes."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Apply in order; durable and visible to searches on return. Repeating changes nothing. Raises UNAVAILABLE when
        the index can't be written now; then some may be applied."""
        ...


class SearchIndex(IndexWriter, Protocol):
    """Full-text search. Every adapter passes `tests/contract/test_search_index.py`.

    Any number of processes may open the same index: all see what any wrote, and one writes at a time, while the others
    wait for a few seconds."""

    async def search(self, query: str, kinds: Sequence[Kind], limit: int, offset: int = 0) -> Sequence[Hit]:
        """Documents of `kinds`, best first, from number `offset` on. The last word also matches as a prefix; words of 4
        letters and more match with one typo, of 8 and more with two, prefixes too. One of three or more words may be
        missing. Case, accents and width don't matter. Best: exact words, then prefixes, then typos; then popularity,
        then newest. A query without words finds nothing. Raises UNAVAILABLE."""
        ...

    async def held(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """What is there of these documents; removed and unknown ones are left out."""
        ...

    async def count(self) -> int:
        """How many documents can be found."""
        ...

    def rebuild(self) -> AbstractAsyncContextManager[IndexWriter]:
        """Fill an empty index beside the present one, which goes on to answer and takes writes that reach both. Leaving
        the context without an error puts the new one in its place at once; with an error, drops it. One at a time:
        another raises UNAVAILABLE."""
        ...

    async def check(self) -> None:
        """Raise UNAVAILABLE when it can't be searched."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...


# ---- Hashtags ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaggedVideo:
    """A video as far as its hashtags go. Without being shown it keeps its version, so that older news stay away."""

    video_id: int
    version: int
    shown: bool
    """PUBLIC and READY."""
    published_at_ms: int = 0
    hashtags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HashtagRow:
    """A hashtag and how many shown videos carry it; `version` grows with every change of the number."""

    name: str
    video_count: int
    version: int


Place = tuple[int, int]
"""Milliseconds of publishing and video id: the order of a hashtag's videos."""


class HashtagStore(Protocol):
    """Shown videos by hashtag. Every write is one transaction. Raises UNAVAILABLE."""

    async def apply(self, videos: Sequence[TaggedVideo]) -> Sequence[HashtagRow]:
        """Take in videos, each unless a higher version was taken in. Answers the present rows of every hashtag that
        these videos carry or ever carried, changed or not: a repetition answers the same."""
        ...

    async def get(self, names: Sequence[str]) -> Mapping[str, HashtagRow]:
        """Hashtags by name; those without a shown video are left out."""
        ...

    async def videos(self, name: str, limit: int, before: Place | None = None) -> Sequence[Place]:
        """Shown videos of a hashtag below `before`, newest first."""
        ...

    async def page(self, after_name: str, limit: int) -> Sequence[HashtagRow]:
        """All hashtags ever seen by ascending name, those without a shown video too."""
        ...

    async def hide_unlisted(self, after_id: int, last_id: int, listed: Sequence[int], before_ms: int) -> int:
        """Hide videos with `after_id` < id <= `last_id` that are not in `listed` and were last written before
        `before_ms`; how many."""
        ...

    async def recount(self) -> int:
        """Make every number agree with the rows; how many were wrong."""
        ...


# ---- What others answer -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedVideo:
    """What search needs to know of a published video."""

    video_id: int
    author_id: int
    version: int
    shown: bool
    """PUBLIC and READY: the only ones that can be found."""
    caption: str = ""
    hashtags: tuple[str, ...] = ()
    published_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What search needs to know of an account. `version` 0: not known."""

    account_id: int
    version: int
    username: str = ""
    display_name: str = ""
    gone: bool = False


class VideoDirectory(Protocol):
    """Videos, answered by media_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> frozenset[int]:
        """Those of these videos that are PUBLIC, READY and may be seen by the caller. At most 500."""
        ...

    async def published(self, after_id: int, limit: int) -> Sequence[PublishedVideo]:
        """Published READY videos of any visibility by ascending id; fewer than `limit` only at the end."""
        ...


class AccountDirectory(Protocol):
    """Accounts, answered by graph_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def blocked(self, caller: Caller, account_ids: Sequence[int]) -> frozenset[int]:
        """Those of these accounts that block the caller or are blocked by them; none for a logged-out caller."""
        ...

    async def accounts(self, account_ids: Sequence[int]) -> Mapping[int, Account]:
        """Accounts by id; unknown ones are left out."""
        ...

    async def follower_counts(self, account_ids: Sequence[int]) -> Mapping[int, int]:
        """How many follow each account."""
        ...

    def all(self) -> AsyncIterator[Sequence[Account]]:
        """All accounts, in pages."""
        ...


class Views(Protocol):
    """How often a video was watched, and when that last changed."""

    @property
    def video_id(self) -> int: ...
    @property
    def author_id(self) -> int: ...
    @property
    def views(self) -> int: ...
    @property
    def changed_at_ms(self) -> int: ...


class ViewsSource(Protocol):
    """Views as the domain `trending` counts them."""

    async def views_changed(self, since_ms: int, limit: int) -> Sequence[Views]:
        """Videos whose views changed at or after `since_ms`, longest ago first."""
        ...
