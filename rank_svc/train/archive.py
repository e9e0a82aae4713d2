"""The platform's own archive as a dataset folder: what was shown, where and why, and what followed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rank_svc.train.columns import DatasetError, read_table
from rank_svc.train.dataset import IMPRESSIONS, INTERACTIONS, ITEMS
from rank_svc.train.folders import check_out, whole_or_not

Pair = tuple[int, int]
_DEEDS = {
    "engagement_video_liked": "like",
    "engagement_video_shared": "share",
    "engagement_comment_added": "comment",
    "feed_not_interested": "not_interested",
}
_FLAGS = ("like", "comment", "share", "follow", "not_interested", "completed")
OUTCOME_MS = 6 * 3_600_000
"""A watch this long after an impression at the most is what followed it."""


@dataclass(slots=True)
class _Log:
    watches: list[tuple[int, int, int, Mapping[str, Any]]] = field(default_factory=list)
    """(time, user, video, body)"""
    shown: list[tuple[int, int, Mapping[str, Any], str]] = field(default_factory=list)
    """(time, user, impression, model version)"""
    deeds: dict[str, dict[Pair, int]] = field(default_factory=lambda: {name: {} for name in _FLAGS})
    """What was done by whom with which video, and when first."""
    follows: dict[Pair, int] = field(default_factory=dict)
    videos: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    """Deleted accounts: nothing of theirs is learned from."""


def convert(archive: Path, out: Path) -> None:
    """Write the folder `out` from the archive's folder. Raises DatasetError when there is nothing to learn from, and
    ValueError for an `out` that is something else."""
    check_out(out, INTERACTIONS, archive)
    log = _Log()
    for kind, actor, at, body in _events(archive):
        _take(log, kind, actor, at, body)
    interactions, impressions = _tables(log)
    if not interactions["user_id"]:
        raise DatasetError(f"{archive}: nobody has watched anything in it")
    with whole_or_not(out) as folder:
        pq.write_table(_typed(interactions), folder / INTERACTIONS, compression="zstd")
        if impressions["user_id"]:
            pq.write_table(_typed(impressions), folder / IMPRESSIONS, compression="zstd")
        if log.videos:
            pq.write_table(_items(log.videos), folder / ITEMS, compression="zstd")


def _events(archive: Path) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """(type, actor, time, body) of every event once, a part at a time."""
    parts = sorted((archive / "events").rglob("*.parquet"))
    if not parts:
        raise DatasetError(f"{archive}: there is no archive; a running instance writes one at DATA_DIR/archive")
    seen: set[int] = set()
    for path in parts:
        table = read_table(path)
        columns = [table.column(name).to_pylist() for name in ("id", "type", "actor_id", "occurred_at_ms", "body")]
        for row, (number, kind, actor, at, body) in enumerate(zip(*columns, strict=True)):
            if number in seen:
                continue
            seen.add(number)
            try:
                yield kind, actor, at, json.loads(body)
            except ValueError:
                raise DatasetError(f"{path}: row {row}, column body: is not JSON") from None


def _number(body: Mapping[str, Any], name: str) -> int:
    # Proto's JSON writes 64-bit integers as text and leaves zeros out.
    return int(body.get(name, 0))


def _take(log: _Log, kind: str, actor: int, at: int, body: dict[str, Any]) -> None:
    user, video = _number(body, "user_id") or actor, _number(body, "video_id")
    if kind == "watch_recorded" and user and video:
        log.watches.append((at, user, video, body))
    elif kind == "feed_served" and user:
        version = str(body.get("model_version", ""))
        log.shown += [(at, user, impression, version) for impression in body.get("impressions", ())]
    elif kind in _DEEDS:
        who = _number(body, "author_id") if kind == "engagement_comment_added" else user
        log.deeds[_DEEDS[kind]].setdefault((who, video), at)
    elif kind == "engagement_video_unliked":
        log.deeds["like"].pop((user, video), None)
    elif kind == "follow_created":
        log.follows.setdefault((_number(body, "follower_id"), _number(body, "followee_id")), at)
    elif kind in ("video_published", "video_updated"):
        facts = body.get("video", {})
        log.videos[_number(facts, "video_id")] = facts
    elif kind == "account_deleted":
        log.gone.add(_number(body, "account_id"))


def _tables(log: _Log) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    names = ("user_id", "item_id", "timestamp_ms", "watched_ms", "duration_ms", *_FLAGS)
    more = ("impression_id", "position_in_page", "source", "propensity", "model_version")
    interactions: dict[str, list[Any]] = {name: [] for name in (*names, *more, "shown_only")}
    impressions: dict[str, list[Any]] = {name: [] for name in (*names, *more)}
    watches: dict[Pair, list[tuple[int, Mapping[str, Any]]]] = {}
    for at, user, video, body in sorted(log.watches, key=lambda w: w[:3]):
        watches.setdefault((user, video), []).append((at, body))
    used: set[tuple[int, int, int]] = set()
    served: dict[Pair, list[int]] = {}
    for at, user, shown, _ in sorted(log.shown, key=lambda s: s[:2]):
        served.setdefault((user, _number(shown, "video_id")), []).append(at)
    for at, user, shown, version in sorted(log.shown, key=lambda s: s[:2]):
        video = _number(shown, "video_id")
        if user in log.gone or not video:
            continue
        # Who left a page before its end is served the rest again: what is done follows from the last time.
        again = next((later for later in served[user, video] if later > at), None)
        end = at + OUTCOME_MS + 1 if again is None else min(again, at + OUTCOME_MS + 1)
        followed = [w for w in watches.get((user, video), ()) if at <= w[0] < end]
        when, body = followed[0] if followed else (at, {})
        told = (
            _number(shown, "impression_id"),
            _number(shown, "position"),
            str(shown.get("source", "")),
            float(shown.get("propensity", 0.0)),
            version,
        )
        row = _row(log, user, video, when, body, since=at, until=again)
        _append(impressions, (user, video, at, *row[3:], *told))
        if (user, video, when) not in used:
            _append(interactions, (*row, *told, not followed))
        if followed:
            used.add((user, video, when))
    for (user, video), rows in watches.items():
        for when, body in rows:
            if user not in log.gone and (user, video, when) not in used:
                used.add((user, video, when))
                _append(interactions, (*_row(log, user, video, when, body), None, None, "", None, "", False))
    return interactions, impressions


def _row(
    log: _Log, user: int, video: int, at: int, body: Mapping[str, Any], *, since: int = 0, until: int | None = None
) -> tuple[Any, ...]:
    """`since` and `until`: what was done earlier, or from then on, did not follow from this."""
    done = {name: log.deeds[name].get((user, video)) for name in _FLAGS}
    author = _number(log.videos.get(video, {}), "author_id") or _number(body, "author_id")
    done["follow"] = log.follows.get((user, author))
    flags = [when is not None and since <= when and (until is None or when < until) for when in done.values()]
    flags[_FLAGS.index("completed")] = bool(body.get("completed", False))
    duration = _number(body, "duration_ms") or _number(log.videos.get(video, {}), "duration_ms")
    return (user, video, at, _number(body, "watched_ms"), duration, *flags)


def _append(table: dict[str, list[Any]], row: tuple[Any, ...]) -> None:
    for column, value in zip(table.values(), row, strict=True):
        column.append(value)


_KINDS = {
    **dict.fromkeys((*_FLAGS, "shown_only"), pa.bool_()),
    **dict.fromkeys(("source", "model_version"), pa.string()),
    "propensity": pa.float64(),
}


def _typed(columns: Mapping[str, list[Any]]) -> pa.Table:
    return pa.table({name: pa.array(values, _KINDS.get(name, pa.int64())) for name, values in columns.items()})


def _items(videos: Mapping[int, Mapping[str, Any]]) -> pa.Table:
    facts = list(videos.values())
    return pa.table(
        {
            "item_id": pa.array(list(videos), pa.int64()),
            "c_author": pa.array([str(f.get("author_id", "")) for f in facts], pa.string()),
            "c_tags": pa.array([list(f.get("hashtags", ())) for f in facts], pa.list_(pa.string())),
            "c_language": pa.array([str(f.get("language", "")) for f in facts], pa.string()),
            "n_duration_s": pa.array([_number(f, "duration_ms") / 1000 for f in facts], pa.float64()),
            "n_has_audio": pa.array([float(bool(f.get("has_audio", False))) for f in facts], pa.float64()),
            "n_published_at_ms": pa.array([float(_number(f, "published_at_ms")) or None for f in facts], pa.float64()),
        }
    )
