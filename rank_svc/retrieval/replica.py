"""What one replica holds in memory: the serving version with its vectors, and what it must know of each video to offer
it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from rank_svc.features.store import VideoState
from rank_svc.retrieval.store import VectorIndex
from rank_svc.scorers.store import Scorer

_OTHER = Counter(
    "reelgraph_rank_other_version_total", "Calls that named a model version which this replica does not hold"
)


@dataclass(frozen=True, slots=True)
class Serving:
    """One model version and the vectors it made: they change together. A call takes it once and stays with it."""

    scorer: Scorer
    videos: VectorIndex
    viewers: VectorIndex

    @property
    def version(self) -> str:
        """Its name."""
        return self.scorer.info.version


class Cards:
    """The videos that may be offered."""

    def __init__(self) -> None:
        self._by_id: dict[int, VideoState] = {}
        self._by_author: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._by_id

    @property
    def known(self) -> Mapping[int, VideoState]:
        """By id, for whoever asks for hundreds at once."""
        return self._by_id

    def get(self, video_id: int) -> VideoState | None:
        """The video, if it may be offered."""
        return self._by_id.get(video_id)

    def all(self) -> list[VideoState]:
        """All of them, by no order."""
        return list(self._by_id.values())

    def put(self, video: VideoState) -> None:
        """Insert or replace."""
        self._by_id[video.facts.video_id] = video
        self._by_author.setdefault(video.facts.author_id, set()).add(video.facts.video_id)

    def drop(self, video_id: int) -> None:
        """Remove; an unknown one is ignored."""
        video = self._by_id.pop(video_id, None)
        if video is not None:
            own = self._by_author[video.facts.author_id]
            own.discard(video_id)
            if not own:
                del self._by_author[video.facts.author_id]

    def of_authors(self, author_ids: Iterable[int]) -> set[int]:
        """Ids of the videos of some authors."""
        return set().union(*(self._by_author.get(author, ()) for author in author_ids))

    def hashtags(self, video_id: int) -> tuple[str, ...]:
        """Its hashtags; none when it is not offered."""
        video = self._by_id.get(video_id)
        return video.facts.hashtags if video else ()


class Replica:
    """The memory of one process. Written by `Refresh` alone, on the event loop."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.standby: Serving | None = None
        """What serves next: held already for calls that began at a replica which switched before this one."""
        self.retired: list[tuple[float, Serving]] = []
        """(when by the monotonic clock, what served until then): held for calls that began with it."""
        self.cards = Cards()
        self.loved: dict[int, tuple[int, ...]] = {}
        """By viewer of the index, the videos they liked or finished, newest first; last active viewer last."""

    def held(self, version: str) -> Serving:
        """The version of this name, for a call that goes on with it; what serves when none is named or it is not here
        (any more): the answer says which it was."""
        if not version or version == self.serving.version:
            return self.serving
        for held in (self.standby, *(old for _, old in reversed(self.retired))):
            if held is not None and held.version == version:
                return held
        _OTHER.inc()
        return self.serving

    def loved_by(self, viewer_ids: Iterable[int]) -> Mapping[int, tuple[int, ...]]:
        """What these viewers liked or finished."""
        return {i: self.loved[i] for i in viewer_ids if i in self.loved}
