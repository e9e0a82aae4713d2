"""The ports of model serving, and the arrays that go in and out.

Row i of every array of a batch is the same thing. A model takes of these arrays what it declares as inputs, by the
name of the field; so a trained model may use more of them than the base version, without a change here.
Words (hashtags, languages, regions, devices) come as `token` hashes, 63 bits, 0 for none: a model maps them to its own
buckets or vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from svc_kit.unit import Caller, Unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MAX_TAGS = 8
"""Hashtags of a video that are used."""
MAX_INTERESTS = 16
"""Chosen interests of a viewer that are used."""
HISTORY = 100
"""Interactions of a viewer that are used."""

SIGNALS = (
    "watch_ratio",
    "watched_s",
    "duration_s",
    "liked",
    "completed",
    "skipped",
    "not_interested",
    "shared",
    "commented",
    "age_hours",
)
"""Columns of `UserBatch.history_signals`. Ratio 0 to 1, flags 0 or 1, the rest in the unit of its name, from 0."""

RANK_FEATURE_MEANINGS = {
    "affinity": "cosine of viewer and video, 0 where one is not known",
    "views_log": "log(1 + watches)",
    "views_1h_log": "log(1 + watches, each halved for every hour of its age)",
    "views_24h_log": "log(1 + watches, each halved for every day of its age)",
    "impressions_log": "log(1 + times shown in a feed)",
    "completion_rate": "share of watches to the end, drawn to what is typical for the length",
    "completion_lift": "completion_rate less what is typical for the length",
    "watch_ratio": "mean share of the length watched, drawn to what is typical for it",
    "watch_lift": "watch_ratio less what is typical for the length",
    "like_rate": "likes a watch, drawn to a prior",
    "share_rate": "shares a watch, drawn to a prior",
    "comment_rate": "comments a watch, drawn to a prior",
    "skip_rate": "share of watches swiped away early, drawn to a prior",
    "negative_rate": "`not interested` an impression, drawn to a prior",
    "age_hours_log": "log(1 + hours since it was published)",
    "freshness": "1 when new, halved for every 48 hours",
    "duration_s": "length in seconds; 15 where not known",
    "duration_log": "log(1 + duration_s)",
    "typical_watch_s": "what is typically watched of this length, in seconds",
    "author_followers_log": "log(1 + followers of its author)",
    "followed": "1: the viewer follows its author",
    "language_match": "1: the viewer's language, 0: another, 0.5: one is not known",
    "interest_match": "share of its hashtags that the viewer chose as interests",
    "tag_affinity": "-1 to 1: how the viewer took to videos with its hashtags",
    "author_affinity": "-1 to 1: how the viewer took to its author's videos",
    "region_views_log": "log(1 + heat among viewers of the viewer's region), 0 outside of its 500 hottest",
    "hour_sin": "sine of the hour of day at the viewer's place",
    "hour_cos": "cosine of the hour of day at the viewer's place",
    "logged_in": "1: the viewer is known",
    "history_log": "log(1 + interactions of the viewer that are known, at most 100)",
    "known": "1: the video is known; else all of its own features are priors",
}
RANK_FEATURES = tuple(RANK_FEATURE_MEANINGS)
"""All columns of `RankRows.features`. A model names those it uses."""

OBJECTIVES = ("like", "share", "comment", "completion", "watch_ms", "negative")
"""What every ranker predicts: probabilities, but `watch_ms` in milliseconds. It may predict more."""


class ModelRefused(ValueError):
    """A version can't be loaded or answers nonsense; the message says which file and why, for an operator."""


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """n videos as the item tower sees them."""

    item_ids: Ints
    """[n]"""
    author_ids: Ints
    """[n], 0 for unknown."""
    tags: Ints
    """[n, MAX_TAGS] tokens of hashtags, 0 where there is none."""
    languages: Ints
    """[n] tokens."""
    durations_s: Floats
    """[n] seconds."""
    has_audio: Floats
    """[n] 0 or 1."""


@dataclass(frozen=True, slots=True)
class UserBatch:
    """b viewers as the user tower sees them. Histories are newest first, padded with zeros to HISTORY."""

    user_ids: Ints
    """[b], 0 when logged out."""
    history_item_ids: Ints
    """[b, HISTORY], 0 for padding."""
    history_author_ids: Ints
    """[b, HISTORY]"""
    history_tags: Ints
    """[b, HISTORY, MAX_TAGS]"""
    history_vectors: Floats
    """[b, HISTORY, d] item vectors under the same version; zeros where one is not known."""
    history_signals: Floats
    """[b, HISTORY, len(SIGNALS)]"""
    interest_tags: Ints
    """[b, MAX_INTERESTS] tokens of hashtags."""
    user_languages: Ints
    """[b] tokens."""
    user_regions: Ints
    """[b] tokens."""
    user_devices: Ints
    """[b] tokens."""
    local_hours: Ints
    """[b] 0 to 23."""


@dataclass(frozen=True, slots=True)
class RankRows:
    """n candidates of one viewer. Fields of `user` are repeated for each row when a ranker asks for them."""

    features: Floats
    """[n, len(RANK_FEATURES)]"""
    items: ItemBatch
    """n rows."""
    user: UserBatch
    """One row."""
    item_vectors: Floats
    """[n, d]; zeros where not known."""
    user_vectors: Floats
    """[n, d]; zeros where not known."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """By objective, [n] each: at least OBJECTIVES. Finite; probabilities from 0 to 1."""

    values: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `version.json` says of a version."""

    version: str
    kind: str
    """`base`, or how it was trained."""
    created: str
    """RFC 3339."""
    dimensions: int
    """d, of item and user vectors."""
    least_similarity: float
    """Inner product of viewer and video below which `this is your taste` would not be true."""


class Scorer(Protocol):
    """One loaded version: both towers and the ranker. Never changes; safe for concurrent use.

    Vectors are compared by inner product. The answer for a row does not depend on the other rows of its batch.
    Raises ValueError for arrays of wrong shape, `ModelRefused` when the model answers what is not finite, and where a
    server runs it UNAVAILABLE when that can't answer now.
    """

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        ...

    async def user_vectors(self, batch: UserBatch) -> Floats:
        """[b, d]. A viewer of whom nothing is known gets zeros or the model's prior, never an error."""
        ...

    async def item_vectors(self, batch: ItemBatch) -> Floats:
        """[n, d]. From content alone: a video of a minute ago has one."""
        ...

    async def rank(self, rows: RankRows) -> Predictions:
        """Predictions for each row, in one model call."""
        ...

    async def unload(self) -> None:
        """Release the version's memory once calls under way have ended. Idempotent; calls after it raise
        `ModelRefused`. A server that other replicas ask too keeps the version that should serve."""
        ...


class ModelRepository(Protocol):
    """Where versions lie: `version.json` and `{user_tower,item_tower,ranker}/{config.pbtxt,1/model.onnx}` of each."""

    async def wanted(self) -> str:
        """The version that should serve now. Raises `ModelRefused` when none can be told."""
        ...

    async def load(self, version: str) -> Scorer:
        """Load a version whole and try it on a few rows. Raises `ModelRefused` naming the file and the reason, and
        then holds nothing of it; versions loaded before are untouched. UNAVAILABLE: a server can't be reached."""
        ...

    async def check(self) -> None:
        """Raise UNAVAILABLE when nothing could be loaded or asked now."""
        ...

    async def close(self) -> None:
        """Release what the repository itself holds."""
        ...


@dataclass(frozen=True, slots=True)
class Promotion:
    """Which version serves, and which did before."""

    version: str
    previous: str
    since_ms: int


class ModelTx(Unit, Protocol):
    """One write transaction over the record of what serves."""

    async def promotion(self) -> Promotion | None:
        """The newest, or none."""
        ...

    async def promote(self, promotion: Promotion) -> int:
        """Record it; returns its entity version, from 1."""
        ...


class ModelLog(Protocol):
    """The record of which version serves."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[ModelTx]:
        """Open a transaction."""
        ...

    async def history(self, limit: int = 20) -> Sequence[Promotion]:
        """Newest first."""
        ...
