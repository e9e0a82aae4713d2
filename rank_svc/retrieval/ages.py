"""How old what serves is: the model, and the vectors when they reach the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client import Gauge, Histogram

from rank_svc.features.store import VideoState
from rank_svc.scorers.store import ModelInfo
from svc_kit.clock import Clock, now_ms

PUBLISHING_MS = 600_000
"""A video that changes later than this after it was published was not published by that change."""

_MODEL_AGE = Gauge("reelgraph_rank_model_age_seconds", "Time since the serving version was made")
_REFUSED = Gauge("reelgraph_rank_model_refused", "1 while the version that should serve does not")
_SERVES = Gauge("reelgraph_rank_model_serving", "1 for the version that serves, 0 for those that did", ["version"])
_EMBEDDING_AGE = Histogram(
    "reelgraph_rank_embedding_age_seconds",
    "Time from a publication or interaction until its vector is in the index",
    ["of"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)


class EmbeddingAges:
    """Notes how long changes waited for their vectors."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waited_ms = -1
        self._newest_of: dict[int, int] = {}

    def videos(self, states: Sequence[tuple[VideoState, bool]]) -> None:
        """These are in the index now; with each, whether it is new there."""
        self._note("videos", [_changed_at(state, is_new=is_new) for state, is_new in states])

    def viewers(self, changed_at: Mapping[int, int], newest: Mapping[int, int], *, first: bool) -> None:
        """These are in the index now: by viewer when they changed, and their newest interaction. `first`: they are
        what was there at the start, and waited for nothing."""
        if not first:
            # A vector is as old as the interaction that it did not know of; what else changed, as its row.
            since = [at if at != self._newest_of.get(i) else changed_at[i] for i, at in newest.items()]
            self._note("viewers", since)
        self._newest_of |= newest

    def forget(self, viewer_id: int) -> None:
        """No longer in the index."""
        self._newest_of.pop(viewer_id, None)

    def _note(self, of: str, since_ms: Sequence[int]) -> None:
        now = now_ms(self._clock)
        for at in since_ms:
            age = max(now - at, 0)
            _EMBEDDING_AGE.labels(of).observe(age / 1000)
            self._waited_ms = max(self._waited_ms, age)

    def take_ms(self) -> int:
        """The longest that a change waited since the last call; -1 when nothing changed."""
        waited, self._waited_ms = self._waited_ms, -1
        return waited


def _changed_at(state: VideoState, *, is_new: bool) -> int:
    """When it was published, if that is what changed; else when its row changed."""
    published = state.facts.published_at_ms
    fresh = is_new and 0 <= state.changed_at_ms - published <= PUBLISHING_MS
    return published if fresh else state.changed_at_ms


def show_model(info: ModelInfo, now: int, *, refused: bool, before: str = "") -> None:
    """What serves, as metrics. `before`: what served until now."""
    if before:
        _SERVES.labels(before).set(0)
    _SERVES.labels(info.version).set(1)
    _REFUSED.set(refused)
    made = made_ms(info.created)
    if made is not None:
        _MODEL_AGE.set(max(now - made, 0) / 1000)


def made_ms(created: str) -> int | None:
    """An RFC 3339 time in milliseconds; None for what is none."""
    try:
        return int(datetime.fromisoformat(created).timestamp() * 1000)
    except ValueError:
        return None
