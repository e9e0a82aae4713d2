"""The ports of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller, Unit


class VideoState(StrEnum):
    """Where a video stands. A DELETED one is a tombstone that nobody sees."""

    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"
    REMOVED = "REMOVED"
    DELETED = "DELETED"


class Visibility(StrEnum):
    """Who may see a READY video beside its author."""

    PUBLIC = "PUBLIC"
    FOLLOWERS = "FOLLOWERS"
    PRIVATE = "PRIVATE"


@dataclass(frozen=True, slots=True)
class VideoRendition:
    """One encoding."""

    width: int
    height: int
    codec: str
    bitrate_kbps: int


@dataclass(frozen=True, slots=True)
class VideoMedia:
    """What is known of a READY video. Renditions are the largest first."""

    duration_ms: int = 0
    width: int = 0
    height: int = 0
    has_audio: bool = False
    renditions: tuple[VideoRendition, ...] = ()


NO_MEDIA = VideoMedia()


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video. `play_id` names it in playback URLs: empty unless it can be played, another one after each change of
    visibility."""

    id: int
    author_id: int
    upload_id: int
    set_id: int
    state: VideoState
    failure_reason: str
    visibility: Visibility
    allow_comments: bool
    caption: str
    hashtags: tuple[str, ...]
    language: str
    media: VideoMedia
    play_id: str
    created_at_ms: int
    published_at_ms: int
    """When it was first READY and published; 0 before."""
    version: int


@dataclass(frozen=True, slots=True)
class Relation:
    """How a viewer stands to an author."""

    follows: bool = False
    blocks: bool = False
    blocked_by: bool = False


class VideoTx(Unit, Protocol):
    """Videos in a write transaction."""

    async def video(self, video_id: int) -> VideoRow | None:
        """The row, locked."""
        ...

    async def video_of_upload(self, upload_id: int) -> VideoRow | None:
        """The video published from an upload, locked."""
        ...

    async def videos_of_set(self, set_id: int) -> Sequence[VideoRow]:
        """Videos that play a set, in no order."""
        ...

    async def add_video(self, row: VideoRow) -> None: ...

    async def save_video(self, row: VideoRow) -> None:
        """Replace the row of `row.id`."""
        ...

    async def media_of_set(self, set_id: int) -> VideoMedia:
        """What is known of a READY set."""
        ...


class VideoStore(Protocol):
    """Reads of videos."""

    async def videos(self, ids: Sequence[int]) -> Sequence[VideoRow]:
        """Rows by id, in no order; unknown ones are left out, tombstones are not."""
        ...

    async def author_videos(self, author_id: int, least_audience: int, before_id: int, limit: int) -> Sequence[int]:
        """Ids of an author's videos of at least this audience (`visibility.audience_of`), newest first, below
        `before_id` (0: from the newest)."""
        ...

    async def counts(self, author_ids: Sequence[int]) -> Mapping[int, int]:
        """READY public videos by author; none: left out."""
        ...

    async def published(self, after_id: int, limit: int) -> Sequence[VideoRow]:
        """READY videos by ascending id above `after_id`."""
        ...


class Relations(Protocol):
    """How viewers stand to authors, by graph_svc."""

    async def relations(self, caller: Caller, author_ids: Sequence[int]) -> Mapping[int, Relation]:
        """How the caller's viewer stands to authors, by author. Raises `AppError` when graph_svc can't be asked."""
        ...
