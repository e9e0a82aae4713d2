"""The port of delivery: what a name in a URL stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Playable:
    """What a playback name stands for now. `is_public`: any cache may keep it."""

    video_id: int
    set_id: int
    is_public: bool


class PlaybackDirectory(Protocol):
    """Names in URLs, from truth: a deleted video's name is unknown at once."""

    async def playable(self, play_id: str) -> Playable | None:
        """The READY video of a playback name; None when there is none, or no more."""
        ...

    async def avatar_set(self, key: str) -> int:
        """The set of a claimed avatar; 0 when there is none."""
        ...
