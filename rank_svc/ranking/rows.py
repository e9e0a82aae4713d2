"""The matrix that the ranker reads: videos' columns, and what is between this viewer and each video."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rank_svc.features.columns import Column
from rank_svc.features.decay import DAY_MS, sum_at
from rank_svc.features.history import decayed
from rank_svc.features.store import VideoRecord
from rank_svc.retrieval.taste import Taste
from rank_svc.scorers.encoding import primary_language
from rank_svc.scorers.store import RANK_FEATURES, Floats


def cosines(user: Floats, items: Floats) -> Floats:
    """[n] cosines of [d] with [n, d]; 0 where one is zeros."""
    lengths = np.linalg.norm(items, axis=1) * np.linalg.norm(user)
    found = np.zeros(len(items), np.float32)
    np.divide(items @ user, lengths, out=found, where=lengths > 1e-9)
    return found


def feature_matrix(
    taste: Taste,
    records: Sequence[VideoRecord | None],
    columns: Mapping[str, Column],
    affinity: Floats,
    followed: Sequence[bool],
    regional_heat: Mapping[int, float],
    tags_of: Mapping[int, Sequence[str]],
) -> Floats:
    """[n, len(RANK_FEATURES)]. `columns`: of `video_columns`. `regional_heat`: log2 heat by video in the viewer's
    region. `tags_of`: hashtags of the videos of the viewer's history."""
    n, viewer = len(records), taste.viewer
    authors, tags = _affinities(taste, tags_of)
    language, chosen = primary_language(viewer.language), frozenset(viewer.interests)
    angle = 2 * math.pi * viewer.local_hour / 24
    logs = ("views", "views_1h", "views_24h", "impressions", "age_hours", "author_followers")
    made: dict[str, object] = {f"{name}_log": np.log1p(columns[name]) for name in logs}
    made |= {
        "affinity": affinity,
        "duration_log": np.log1p(columns["duration_s"]),
        "followed": np.array(followed, np.float32) if followed else 0.0,
        "language_match": [_language(language, record) for record in records],
        "interest_match": [_interest(chosen, record) for record in records],
        "tag_affinity": [_mean(tags, record.facts.hashtags) if record else 0.0 for record in records],
        "author_affinity": [authors.get(record.facts.author_id, 0.0) if record else 0.0 for record in records],
        "region_views_log": [_regional(regional_heat, record, taste.now_ms) for record in records],
        "hour_sin": math.sin(angle),
        "hour_cos": math.cos(angle),
        "logged_in": float(viewer.viewer_id > 0),
        "history_log": math.log1p(len(taste.history)),
    }
    matrix = np.zeros((n, len(RANK_FEATURES)), np.float32)
    for i, name in enumerate(RANK_FEATURES):
        matrix[:, i] = made[name] if name in made else columns[name]  # type: ignore[call-overload]
    return matrix


def _affinities(taste: Taste, tags_of: Mapping[int, Sequence[str]]) -> tuple[dict[int, float], dict[str, float]]:
    """-1 to 1 by author and by hashtag: the sum of the viewer's decayed appeal, squashed."""
    authors: dict[int, float] = {}
    tags: dict[str, float] = {}
    for made in taste.history:
        appeal = decayed(made, taste.now_ms)
        if made.author_id:
            authors[made.author_id] = authors.get(made.author_id, 0.0) + appeal
        for tag in tags_of.get(made.video_id, ()):
            tags[tag] = tags.get(tag, 0.0) + appeal
    return {i: math.tanh(v / 3) for i, v in authors.items()}, {tag: math.tanh(v / 3) for tag, v in tags.items()}


def _mean(weights: Mapping[str, float], words: Sequence[str]) -> float:
    return sum(weights.get(word, 0.0) for word in words) / len(words) if words else 0.0


def _language(viewer: str, record: VideoRecord | None) -> float:
    spoken = primary_language(record.facts.language) if record else ""
    return float(viewer == spoken) if viewer and spoken else 0.5


def _interest(chosen: frozenset[str], record: VideoRecord | None) -> float:
    tags = record.facts.hashtags if record else ()
    return len(chosen.intersection(tags)) / len(tags) if tags else 0.0


def _regional(heat: Mapping[int, float], record: VideoRecord | None, now_ms: int) -> float:
    return math.log1p(sum_at(heat.get(record.facts.video_id), now_ms, DAY_MS)) if record else 0.0
