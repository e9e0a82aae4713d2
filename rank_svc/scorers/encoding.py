"""Videos and viewers as the arrays that models read. Training encodes by the same functions: the two can't differ."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.history import ratio
from rank_svc.features.store import Interaction, VideoFacts
from rank_svc.scorers.store import (
    HISTORY,
    MAX_INTERESTS,
    MAX_TAGS,
    SIGNALS,
    Floats,
    ItemBatch,
    UserBatch,
)

Lookup = Callable[[Sequence[int]], tuple[Floats, NDArray[np.bool_]]]
"""Item vectors by id: [n, d], and which are known."""


@lru_cache(maxsize=65536)
def token(word: str) -> int:
    """A word as 63 bits that never change; 0 for an empty one."""
    if not word:
        return 0
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big") >> 1 or 1


def language_token(tag: str) -> int:
    """A BCP 47 tag by its primary language alone: `de-AT` is German."""
    return token(primary_language(tag))


@lru_cache(maxsize=4096)
def primary_language(tag: str) -> str:
    """The primary subtag, lower case; empty when there is none."""
    return tag.replace("_", "-").partition("-")[0].strip().lower()


def encode_items(videos: Sequence[VideoFacts]) -> ItemBatch:
    """n videos."""
    tags = np.zeros((len(videos), MAX_TAGS), np.int64)
    for i, video in enumerate(videos):
        words = [token(word) for word in video.hashtags[:MAX_TAGS]]
        tags[i, : len(words)] = words
    return ItemBatch(
        item_ids=np.array([v.video_id for v in videos], np.int64),
        author_ids=np.array([v.author_id for v in videos], np.int64),
        tags=tags,
        languages=np.array([language_token(v.language) for v in videos], np.int64),
        durations_s=np.array([v.duration_ms / 1000 for v in videos], np.float32),
        has_audio=np.array([v.has_audio for v in videos], np.float32),
    )


class ViewerRow:
    """One viewer to be encoded. `history` is newest first."""

    __slots__ = ("device", "history", "interests", "language", "local_hour", "region", "viewer_id")

    def __init__(
        self,
        viewer_id: int,
        history: Sequence[Interaction] = (),
        interests: Sequence[str] = (),
        *,
        language: str = "",
        region: str = "",
        device: str = "",
        local_hour: int = 0,
    ) -> None:
        self.viewer_id = viewer_id
        self.history = history[:HISTORY]
        self.interests = interests
        self.language = language
        self.region = region
        self.device = device
        self.local_hour = local_hour


def encode_users(
    viewers: Sequence[ViewerRow],
    now_ms: int,
    vectors: Lookup,
    hashtags: Callable[[int], Sequence[str]],
    dimensions: int,
) -> UserBatch:
    """b viewers at `now_ms`. `vectors` and `hashtags` answer for the videos of their histories."""
    b = len(viewers)
    ids = np.zeros((b, HISTORY), np.int64)
    authors = np.zeros((b, HISTORY), np.int64)
    tags = np.zeros((b, HISTORY, MAX_TAGS), np.int64)
    signals = np.zeros((b, HISTORY, len(SIGNALS)), np.float32)
    items = np.zeros((b, HISTORY, dimensions), np.float32)
    interests = np.zeros((b, MAX_INTERESTS), np.int64)
    for i, viewer in enumerate(viewers):
        chosen = [token(word) for word in viewer.interests[:MAX_INTERESTS]]
        interests[i, : len(chosen)] = chosen
        n = len(viewer.history)
        if not n:
            continue
        ids[i, :n] = [made.video_id for made in viewer.history]
        authors[i, :n] = [made.author_id for made in viewer.history]
        signals[i, :n] = [_signals(made, now_ms) for made in viewer.history]
        items[i, :n], _ = vectors([made.video_id for made in viewer.history])
        for j, made in enumerate(viewer.history):
            words = [token(word) for word in hashtags(made.video_id)[:MAX_TAGS]]
            tags[i, j, : len(words)] = words
    return UserBatch(
        user_ids=np.array([v.viewer_id for v in viewers], np.int64),
        history_item_ids=ids,
        history_author_ids=authors,
        history_tags=tags,
        history_vectors=items,
        history_signals=signals,
        interest_tags=interests,
        user_languages=np.array([language_token(v.language) for v in viewers], np.int64),
        user_regions=np.array([token(v.region.upper()) for v in viewers], np.int64),
        user_devices=np.array([token(v.device.lower()) for v in viewers], np.int64),
        local_hours=np.array([v.local_hour % 24 for v in viewers], np.int64),
    )


def _signals(made: Interaction, now_ms: int) -> tuple[float, ...]:
    return (
        ratio(made),
        made.watched_ms / 1000,
        made.duration_ms / 1000,
        made.liked,
        made.completed,
        made.skipped,
        made.not_interested,
        made.shared,
        made.commented,
        max(now_ms - made.at_ms, 0) / 3_600_000,
    )
