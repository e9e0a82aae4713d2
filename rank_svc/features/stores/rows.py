"""Rows of the feature tables as values, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from sqlalchemy import RowMapping

from rank_svc.features.store import BucketStats, Interaction, VideoFacts, VideoRecord, VideoState, VideoStats, Viewer

STATS = tuple(f.name for f in fields(VideoStats))
HEATS = ("heat_1h", "heat_24h")
BUCKET = tuple(f.name for f in fields(BucketStats))
INTERACTION = tuple(f.name for f in fields(Interaction))
FACTS = tuple(f.name for f in fields(VideoFacts))


@lru_cache(maxsize=65536)
def hashtags(text: str) -> tuple[str, ...]:
    """As they lie in a column. The same few sets come again and again."""
    return tuple(json.loads(text))


def facts(row: RowMapping) -> VideoFacts:
    """Facts of a row of `videos`."""
    return VideoFacts(**{name: row[name] for name in FACTS} | {"hashtags": hashtags(row["hashtags"])})


def state(row: RowMapping) -> VideoState:
    """A row of `videos`."""
    return VideoState(facts(row), row["version"], row["published"], row["deleted"], row["changed_at_ms"])


def state_row(video: VideoState) -> dict[str, Any]:
    """The row of a video."""
    row = {name: getattr(video.facts, name) for name in FACTS}
    row["hashtags"] = json.dumps(list(video.facts.hashtags), ensure_ascii=False)
    row["language"] = video.facts.language[:35]
    kept = {name: getattr(video, name) for name in ("version", "published", "deleted", "servable", "changed_at_ms")}
    return row | kept


def record(row: Sequence[Any]) -> VideoRecord:
    """Columns FACTS, STATS, which an outer join may have left empty, and the author's followers. By place, not by name:
    a ranking reads hundreds."""
    video_id, author_id, words, *rest = row[: len(FACTS)]
    counts = [value if value is not None and value > 0 else 0 for value in row[len(FACTS) : -1]]
    for name in HEATS:  # The logarithm of little is negative.
        counts[STATS.index(name)] = row[len(FACTS) + STATS.index(name)]
    return VideoRecord(
        VideoFacts(video_id, author_id, hashtags(words), *rest), VideoStats(*counts), max(row[-1] or 0, 0)
    )


def interaction(row: RowMapping) -> Interaction:
    """A row of `viewer_history`."""
    return Interaction(**{name: row[name] for name in INTERACTION})


def interaction_row(viewer_id: int, made: Interaction) -> dict[str, Any]:
    """The row of an interaction."""
    return {"viewer_id": viewer_id, **{name: getattr(made, name) for name in INTERACTION}}


def viewer(row: RowMapping) -> Viewer:
    """A row of `viewers`."""
    interests = tuple(json.loads(row["interests"]))
    told = (row[name] for name in ("interests_version", "language", "region", "utc_offset_hours", "device"))
    return Viewer(interests, *told)


def viewer_row(viewer_id: int, viewer: Viewer, now_ms: int) -> dict[str, Any]:
    """The row of a viewer."""
    return {
        "viewer_id": viewer_id,
        "interests": json.dumps(list(viewer.interests), ensure_ascii=False),
        "interests_version": viewer.interests_version,
        "language": viewer.language[:35],
        "region": viewer.region[:8],
        "utc_offset_hours": viewer.utc_offset_hours,
        "device": viewer.device[:16],
        "changed_at_ms": now_ms,
    }
