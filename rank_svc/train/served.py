"""A dataset as the arrays that a served version takes: what is measured is what serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.scorers.encoding import language_token, token
from rank_svc.scorers.store import HISTORY, MAX_INTERESTS, MAX_TAGS, SIGNALS, Floats, ItemBatch, UserBatch
from rank_svc.train.dataset import Features, Ints
from rank_svc.train.histories import Histories, item_codes

HOUR_MS = 3_600_000
TAG_COLUMNS = ("tags", "tag", "hashtags")
AUTHOR_COLUMNS = ("author", "author_id")
LANGUAGE_COLUMNS = ("language", "lang")
DURATION_COLUMNS = {"duration_s": 1.0, "duration_ms": 0.001}
MOST_DIGITS = 100
ZERO = -1
"""What the id 0 is called in arrays, where 0 means nothing; negative ids do not occur."""


def served_ids(ids: Ints) -> Ints:
    """Ids as models see them."""
    return np.where(ids == 0, ZERO, ids)


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of all items of a catalogue but who watched them."""

    author_ids: Ints
    """[n], 0 for unknown."""
    tags: Ints
    """[n, MAX_TAGS] tokens: hashtags as they are, values of other columns as `column=value`."""
    languages: Ints
    """[n] tokens."""
    durations_s: Floats
    """[n], 0 for unknown."""
    has_audio: Floats
    """[n]"""

    def of(self, rows: Ints) -> Content:
        """Some items."""
        return Content(
            self.author_ids[rows], self.tags[rows], self.languages[rows], self.durations_s[rows], self.has_audio[rows]
        )

    def batch(self, ids: Ints, rows: Ints) -> ItemBatch:
        """Some items, ids as in the source."""
        return ItemBatch(
            served_ids(ids),
            self.author_ids[rows],
            self.tags[rows],
            self.languages[rows],
            self.durations_s[rows],
            self.has_audio[rows],
        )


def content(catalogue: Ints, features: Features) -> Content:
    """Content of every item of the catalogue; zeros where the dataset has none."""
    n = len(catalogue)
    row_of = item_codes(features.ids, catalogue)
    known = np.flatnonzero(row_of >= 0)
    rows = row_of[known]
    authors, languages = np.zeros(n, np.int64), np.zeros(n, np.int64)
    authors[known] = _first(features, AUTHOR_COLUMNS, rows, _id)
    languages[known] = _first(features, LANGUAGE_COLUMNS, rows, language_token)
    tags = np.zeros((n, MAX_TAGS), np.int64)
    tags[known] = _tags(features.categories, rows)
    durations = np.zeros(n, np.float32)
    for name, factor in DURATION_COLUMNS.items():
        if name in features.numbers:
            durations[known] = np.nan_to_num(features.numbers[name][rows] * factor, nan=0.0)
            break
    audio = np.ones(n, np.float32)
    if "has_audio" in features.numbers:
        audio[known] = np.nan_to_num(features.numbers["has_audio"][rows], nan=1.0)
    return Content(authors, tags, languages, durations, audio)


def _id(text: str) -> int:
    # Python makes no number of thousands of digits.
    if len(text) < MOST_DIGITS and text.isascii() and text.isdigit() and 0 < int(text) < 2**63:
        return int(text)
    return token(f"id={text}")


def _first(features: Features, names: Sequence[str], rows: Ints, code: Callable[[str], int]) -> Ints:
    for name in names:
        if name in features.categories:
            values = features.categories[name]
            return np.array([code(values[r][0]) if values[r] else 0 for r in rows.tolist()], np.int64)
    return np.zeros(len(rows), np.int64)


def _tags(categories: Mapping[str, Sequence[Sequence[str]]], rows: Ints) -> Ints:
    taken = {name for names in (AUTHOR_COLUMNS, LANGUAGE_COLUMNS) for name in names}
    tag_columns = [categories[name] for name in TAG_COLUMNS if name in categories]
    others = [(name, categories[name]) for name in categories if name not in taken and name not in TAG_COLUMNS]
    # Hashtags may not crowd the other columns out: these keep a slot each, half of all at the most.
    reserved = min(len(others), MAX_TAGS // 2 if tag_columns else MAX_TAGS)
    found = np.zeros((len(rows), MAX_TAGS), np.int64)
    for i, row in enumerate(rows.tolist()):
        words = [word for column in tag_columns for word in column[row]][: MAX_TAGS - reserved]
        words += [f"{name}={value}" for name, column in others for value in column[row][:1]]
        found[i, : len(words[:MAX_TAGS])] = [token(word) for word in words[:MAX_TAGS]]
    return found


def signals(histories: Histories, rows: Ints, now_ms: NDArray[np.int64]) -> Floats:
    """[n, len(SIGNALS)] of rows at a time each. Where no length is known, a positive was watched whole."""
    flags = {name: column[rows] for name, column in histories.flags.items()}
    none = np.zeros(len(rows), np.bool_)
    watched, duration = histories.watched_ms[rows], histories.duration_ms[rows]
    liked = flags.get("like", none)
    completed = flags.get("completed", none) | flags.get("long_view", none)
    if not {"like", "completed", "long_view"} & set(flags):
        completed = histories.positive[rows]
    ratio = np.where(duration > 0, np.clip(watched / np.maximum(duration, 1), 0, 1), completed)
    columns = {
        "watch_ratio": ratio,
        "watched_s": watched / 1000,
        "duration_s": duration / 1000,
        "liked": liked,
        "completed": completed,
        "not_interested": flags.get("not_interested", none),
        "shared": flags.get("share", none),
        "commented": flags.get("comment", none),
        "age_hours": np.maximum(now_ms - histories.times_ms[rows], 0) / HOUR_MS,
    }
    found = np.zeros((len(rows), len(SIGNALS)), np.float32)
    for i, name in enumerate(SIGNALS):
        if name in columns:
            found[:, i] = columns[name]
    return found


def viewers(
    histories: Histories,
    users: Ints,
    now_ms: int,
    catalogue: Ints,
    content_: Content,
    vectors: Floats,
) -> UserBatch:
    """Users by index, as they are at `now_ms`. `vectors`: [items, d] of the catalogue."""
    b = len(users)
    ids, authors = np.zeros((b, HISTORY), np.int64), np.zeros((b, HISTORY), np.int64)
    tags = np.zeros((b, HISTORY, MAX_TAGS), np.int64)
    said = np.zeros((b, HISTORY, len(SIGNALS)), np.float32)
    items = np.zeros((b, HISTORY, vectors.shape[1]), np.float32)
    for i, user in enumerate(users.tolist()):
        start, end = int(histories.starts[user]), int(histories.starts[user + 1])
        rows = np.arange(end - 1, max(start, end - HISTORY) - 1, -1)
        n, codes = len(rows), item_codes(catalogue, histories.items[rows])
        ids[i, :n] = served_ids(histories.items[rows])
        authors[i, :n] = content_.author_ids[codes]
        tags[i, :n] = content_.tags[codes]
        items[i, :n] = vectors[codes]
        said[i, :n] = signals(histories, rows, np.full(n, now_ms))
    nobody = np.zeros(b, np.int64)
    return UserBatch(
        user_ids=served_ids(histories.users[users]),
        history_item_ids=ids,
        history_author_ids=authors,
        history_tags=tags,
        history_vectors=items,
        history_signals=said,
        interest_tags=np.zeros((b, MAX_INTERESTS), np.int64),
        user_languages=nobody,
        user_regions=nobody,
        user_devices=nobody,
        local_hours=np.full(b, now_ms // HOUR_MS % 24),
    )
