"""KuaiRand-Pure, in the form of sequences and a period after them, as a dataset folder."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rank_svc.train.columns import DatasetError, flags, has, ids, read_table, whole
from rank_svc.train.dataset import IMPRESSIONS, INTERACTIONS, ITEMS, USERS
from rank_svc.train.folders import check_out, whole_or_not

TRUTH = "val.truth.parquet"
_FLAGS = {
    "is_like": "like",
    "is_comment": "comment",
    "is_forward": "share",
    "is_follow": "follow",
    "is_hate": "not_interested",
    "long_view": "long_view",
    "finish": "completed",
    "is_positive": "positive",
}


def convert(source: Path, out: Path) -> None:
    """Write the folder `out`, whole or not at all. Raises DatasetError for what is missing or broken in `source`, and
    ValueError for an `out` that is something else."""
    check_out(out, INTERACTIONS, source)
    sequences = _sequences(source / "user_sequences.parquet")
    impressions = _impressions(source / "val.parquet")
    with whole_or_not(out) as folder:
        pq.write_table(sequences, folder / INTERACTIONS, compression="zstd")
        if impressions is not None:
            pq.write_table(impressions, folder / IMPRESSIONS, compression="zstd")
            positive = impressions.filter(impressions.column("positive")).select(["user_id", "item_id"])
            pq.write_table(positive.group_by(["user_id", "item_id"], use_threads=False).aggregate([]), folder / TRUTH)
        for name, target, key in (
            ("video_features_basic_pure.csv", ITEMS, "video_id"),
            ("user_features_pure.csv", USERS, "user_id"),
        ):
            if (source / name).is_file():
                pq.write_table(_features(source / name, key), folder / target, compression="zstd")


def merge(watched: list[int], long_watched: list[int], liked: list[int]) -> list[tuple[int, bool, bool]]:
    """One history of three: (video, watched long, liked), oldest first.

    The lists are the last 50 of each kind, so the long watches and likes reach further back than the watches: long
    watches are matched from the newest on, and what is left over comes before.
    """
    left = list(long_watched)
    events: list[tuple[int, bool, bool]] = []
    for video in reversed(watched):
        long = bool(left) and left[-1] == video
        if long:
            left.pop()
        events.append((video, long, False))
    events += [(video, True, False) for video in reversed(left)]
    newest: dict[int, int] = {}
    for i, (video, _, _) in enumerate(events):
        newest.setdefault(video, i)
    for video in reversed(liked):
        if video in newest:
            at = newest[video]
            events[at] = (video, events[at][1], True)
        else:
            events.append((video, False, True))
    return events[::-1]


def _sequences(path: Path) -> pa.Table:
    table = read_table(path)
    users = ids(path, table, "user_id").tolist()
    columns = [_lists(path, table, name) for name in ("watch_seq", "long_watch_seq", "like_seq")]
    lengths = whole(path, table, "history_len").tolist() if has(table, "history_len") else [0] * len(users)
    times = whole(path, table, "last_time_ms").tolist() if has(table, "last_time_ms") else [-1] * len(users)
    out: dict[str, list[Any]] = {
        name: [] for name in ("user_id", "item_id", "position", "timestamp_ms", "long_view", "like")
    }
    for user, watched, long_watched, liked, length, last in zip(users, *columns, lengths, times, strict=True):
        events = merge(watched, long_watched, liked)
        n = len(events)
        out["user_id"] += [user] * n
        out["item_id"] += [video for video, _, _ in events]
        out["position"] += positions(n, len(watched), length)
        # Of a sequence only the time of its last event is known.
        out["timestamp_ms"] += [None] * (n - 1) + [last if last >= 0 else None] * min(n, 1)
        out["long_view"] += [long for _, long, _ in events]
        out["like"] += [like for _, _, like in events]
    kinds = (pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.bool_(), pa.bool_())
    return pa.table({name: pa.array(out[name], kind) for name, kind in zip(out, kinds, strict=True)})


def positions(n: int, watched: int, length: int) -> list[int]:
    """Places of n merged events in a history of `length` events: the watches are its end, what reaches further back is
    spread evenly over what was before."""
    older, total = n - watched, max(length, n)
    before = total - watched
    return [i * before // older for i in range(older)] + list(range(before, total))


def _lists(path: Path, table: pa.Table, name: str) -> list[list[int]]:
    if not has(table, name):
        raise DatasetError(f"{path}: there is no column {name}")
    found: list[list[int]] = []
    for row, value in enumerate(table.column(name).to_pylist()):
        if value is not None and not all(isinstance(v, int) and v >= 0 for v in value):
            raise DatasetError(f"{path}: row {row}, column {name}: is not a list of ids")
        found.append(value or [])
    return found


def _impressions(path: Path) -> pa.Table | None:
    if not path.is_file():
        return None
    table = read_table(path)
    columns: dict[str, Any] = {"user_id": ids(path, table, "user_id"), "item_id": ids(path, table, "video_id")}
    for name, target in (("time_ms", "timestamp_ms"), ("play_time_ms", "watched_ms"), ("duration_ms", "duration_ms")):
        if has(table, name):
            columns[target] = whole(path, table, name)
    columns |= {target: flags(path, table, name) for name, target in _FLAGS.items() if has(table, name)}
    if "positive" not in columns:
        known = [columns[name] for name in ("long_view", "completed", "like") if name in columns]
        columns["positive"] = np.logical_or.reduce(known) if known else np.ones(table.num_rows, np.bool_)
    return pa.table(columns)


_CATEGORIES = {
    *("author_id", "video_type", "upload_type", "music_id", "music_type", "tag", "upload_dt"),
    *("user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author", "register_days_range"),
    *(f"onehot_feat{i}" for i in range(18)),
}
_NUMBERS = {
    "video_duration": ("duration_s", 0.001),
    "server_width": ("width", 1.0),
    "server_height": ("height", 1.0),
    "follow_user_num": ("follows", 1.0),
    "fans_user_num": ("followers", 1.0),
    "friend_user_num": ("friends", 1.0),
    "register_days": ("registered_days", 1.0),
}
_NAMES = {"author_id": "author", "upload_dt": "upload_day", "tag": "tags"}


def _features(path: Path, key: str) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, pa.Array] = {}
    try:
        columns["user_id" if key == "user_id" else "item_id"] = pa.array([int(r[key]) for r in rows], pa.int64())
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: column {key}: {error}") from error
    for name in rows[0] if rows else ():
        if name in _CATEGORIES:
            values = [[part for part in (r[name] or "").split(",") if part not in ("", "UNKNOWN")] for r in rows]
            columns[f"c_{_NAMES.get(name, name)}"] = pa.array(values, pa.list_(pa.string()))
        elif name in _NUMBERS:
            target, factor = _NUMBERS[name]
            columns[f"n_{target}"] = pa.array([_number(path, i, name, r[name], factor) for i, r in enumerate(rows)])
    if rows and "upload_dt" in rows[0]:
        columns["n_published_at_ms"] = pa.array([_day_ms(r["upload_dt"]) for r in rows], pa.float64())
    return pa.table(columns)


def _day_ms(text: str) -> float | None:
    """The beginning of a day in Beijing, where the service is."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone(timedelta(hours=8))).timestamp() * 1000
    except (TypeError, ValueError):
        return None


def _number(path: Path, row: int, name: str, text: str, factor: float) -> float | None:
    try:
        return float(text) * factor if text else None
    except ValueError:
        raise DatasetError(f"{path}: row {row}, column {name}: {text[:80]!r} is not a number") from None
