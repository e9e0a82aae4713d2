"""The dataset folder: `interactions.parquet`, and where there are any `items.parquet`, `users.parquet`,
`impressions.parquet`. `docs/ranking.md` says what each column means; only user_id and item_id are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rank_svc.train.columns import (
    NO_TIME,
    DatasetError,
    flags,
    floats,
    has,
    ids,
    read_table,
    strings,
    vectors,
    whole,
    words,
)

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

INTERACTIONS, ITEMS, USERS, IMPRESSIONS = (
    "interactions.parquet",
    "items.parquet",
    "users.parquet",
    "impressions.parquet",
)
FLAG_COLUMNS = ("like", "comment", "share", "follow", "not_interested", "long_view", "completed")
POSITIVE_COLUMNS = ("long_view", "completed", "like")
WHOLE_COLUMNS = ("timestamp_ms", "watched_ms", "duration_ms", "position", "position_in_page", "impression_id")


@dataclass(frozen=True, slots=True)
class Events:
    """Rows of interactions or impressions, in the file's order."""

    user_ids: Ints
    item_ids: Ints
    flags: Mapping[str, Flags]
    """By name, of FLAG_COLUMNS those that exist."""
    wholes: Mapping[str, Ints]
    """By name, of WHOLE_COLUMNS those that exist and are not null everywhere; NO_TIME for null."""
    texts: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """`source` and `model_version`, where they exist."""

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def positive(self) -> Flags:
        """Watched long, completed or liked; every row where none of these is known."""
        known = [self.flags[name] for name in POSITIVE_COLUMNS if name in self.flags]
        return np.logical_or.reduce(known) if known else np.ones(len(self), np.bool_)

    def where(self, keep: Flags | Ints) -> Events:
        """The rows that a mask or row numbers choose."""
        return Events(
            self.user_ids[keep],
            self.item_ids[keep],
            {name: column[keep] for name, column in self.flags.items()},
            {name: column[keep] for name, column in self.wholes.items()},
            {name: column[keep] for name, column in self.texts.items()},
        )


@dataclass(frozen=True, slots=True)
class Features:
    """Rows of items.parquet or users.parquet, each id once."""

    ids: Ints
    categories: Mapping[str, Sequence[Sequence[str]]]
    """Column name without `c_` -> by row, its values."""
    numbers: Mapping[str, NDArray[np.float64]]
    """Column name without `n_` -> [n], NaN for unknown."""
    vectors: Mapping[str, NDArray[np.float32]]
    """Column name without `v_` -> [n, d]."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder, read and checked."""

    folder: Path
    interactions: Events
    shown: Events
    """Rows of interactions that were shown and never played: masked when measuring, and learned from by nobody."""
    items: Features
    users: Features
    impressions: Events | None
    notes: Sequence[str]
    """What was left out and why, for a person."""

    @property
    def catalogue(self) -> Ints:
        """All ids of items that there are, ascending."""
        return np.unique(np.concatenate([self.interactions.item_ids, self.shown.item_ids, self.items.ids]))


def load(folder: Path) -> Dataset:
    """Read a dataset folder. Raises DatasetError naming file, row and column."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    notes: list[str] = []
    interactions = read_events(folder / INTERACTIONS, notes)
    only = interactions.flags.get("shown_only", np.zeros(len(interactions), np.bool_))
    shown, interactions = interactions.where(only), interactions.where(~only)
    if not len(interactions):
        raise DatasetError(f"{folder / INTERACTIONS}: there is no row")
    path = folder / IMPRESSIONS
    impressions = read_events(path, notes) if path.is_file() else None
    return Dataset(
        folder,
        interactions,
        shown,
        _read_features(folder / ITEMS, "item_id", notes),
        _read_features(folder / USERS, "user_id", notes),
        impressions,
        notes,
    )


def read_events(path: Path, notes: list[str]) -> Events:
    """Rows with user_id and item_id. Rows that are the same in every column count once."""
    table = read_table(path)
    user_ids, item_ids = ids(path, table, "user_id"), ids(path, table, "item_id")
    marks = {name: flags(path, table, name) for name in FLAG_COLUMNS if has(table, name)}
    numbers = {name: whole(path, table, name) for name in WHOLE_COLUMNS if has(table, name)}
    numbers = {name: column for name, column in numbers.items() if (column != NO_TIME).any()}
    texts = {name: strings(table, name) for name in ("source", "model_version") if has(table, name)}
    events = Events(user_ids, item_ids, marks, numbers, texts)
    if has(table, "shown_only"):
        marks["shown_only"] = flags(path, table, "shown_only")
    return _without_repeats(path, events, notes) if "timestamp_ms" in numbers or "position" in numbers else events


def _without_repeats(path: Path, events: Events, notes: list[str]) -> Events:
    keys = [events.user_ids, events.item_ids, *events.wholes.values(), *events.flags.values()]
    order = np.lexsort(keys[::-1])
    same = np.ones(len(events), np.bool_)
    same[:1] = False
    for key in keys:
        same[1:] &= key[order][1:] == key[order][:-1]
    if not same.any():
        return events
    notes.append(f"{path}: {int(same.sum())} rows repeat others and count once")
    keep = np.ones(len(events), np.bool_)
    keep[order[same]] = False
    return events.where(keep)


def _read_features(path: Path, key: str, notes: list[str]) -> Features:
    if not path.is_file():
        return Features(np.zeros(0, np.int64), {}, {}, {})
    table = read_table(path)
    known = ids(path, table, key)
    unique, last = _last_of_each(known)
    if len(unique) < len(known):
        notes.append(f"{path}: {len(known) - len(unique)} rows repeat a {key}; the last of each counts")
    # All rows are checked as they are in the file, so that a message names the row that is there.
    names = [name for name in table.column_names if has(table, name)]
    categories = {name[2:]: words(table, name) for name in names if name.startswith("c_")}
    return Features(
        unique,
        {name: [column[row] for row in last.tolist()] for name, column in categories.items()},
        {name[2:]: floats(path, table, name)[last] for name in names if name.startswith("n_")},
        {name[2:]: vectors(path, table, name)[last] for name in names if name.startswith("v_")},
    )


def _last_of_each(known: Ints) -> tuple[Ints, Ints]:
    unique, first_from_end = np.unique(known[::-1], return_index=True)
    return unique, (len(known) - 1 - first_from_end).astype(np.int64)


def read_truth(path: Path) -> tuple[Ints, Ints]:
    """(user_ids, item_ids) of a truth file, each pair once."""
    table = read_table(path)
    pairs: Any = np.unique(np.stack([ids(path, table, "user_id"), ids(path, table, "item_id")], 1), axis=0)
    return pairs[:, 0], pairs[:, 1]
