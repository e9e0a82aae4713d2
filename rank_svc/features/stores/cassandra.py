"""Histories of viewers in Cassandra.

What each event says is a row under its viewer and six weeks, newest first, written at the event's own time; a reader
lays the newest of them over one another. Nothing is read before it is written, so two writers can't undo each other.

A partition is 45 days of a viewer: of 300 interactions a day 13,500 rows, about a megabyte.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields

from rank_svc.features.history import lay
from rank_svc.features.store import Interaction
from svc_kit.cassandra import schema
from svc_kit.cassandra.buckets import Buckets
from svc_kit.cassandra.schema import Table, windows
from svc_kit.cassandra.shared import Lease, lease
from svc_kit.clock import Clock, now_ms

DAYS_A_PARTITION = 45

_FLAGS = tuple(f.name for f in fields(Interaction) if f.type == "bool")

TABLES = (
    Table(
        "viewer_history",
        {
            "viewer_id": "bigint",
            "part": "int",
            "at_ms": "bigint",
            "video_id": "bigint",
            "kind": "int",
            "author_id": "bigint",
            "watched_ms": "bigint",
            "duration_ms": "bigint",
            "flags": "int",
            "like_version": "bigint",
        },
        "(viewer_id, part), at_ms, video_id, kind",
        f"CLUSTERING ORDER BY (at_ms DESC, video_id DESC, kind DESC) AND {windows(5)}",
    ),
)

_ADD = (
    "INSERT INTO viewer_history "
    "(viewer_id, part, at_ms, video_id, kind, author_id, watched_ms, duration_ms, flags, like_version) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?"
)
_BELOW = (
    "SELECT at_ms, video_id, kind, author_id, watched_ms, duration_ms, flags, like_version FROM viewer_history "
    "WHERE viewer_id = ? AND part = ? AND (at_ms, video_id, kind) < (?, ?, ?)"
)
_FORGET = "DELETE FROM viewer_history USING TIMESTAMP ? WHERE viewer_id = ? AND part = ?"

_WATCHED = 1
_Place = tuple[int, int, int]
_END: _Place = (2**63 - 1, 2**63 - 1, 2**31 - 1)


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.verify(url, TABLES)


async def migrate(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.migrate(url, TABLES)


async def open(url: str, own: object = None, *, clock: Clock, keep_days: int) -> CassandraHistoryStore:
    """Histories in the keyspace at `url`, of the last `keep_days` days."""
    return CassandraHistoryStore(await lease(url), clock, Buckets(clock, DAYS_A_PARTITION, keep_days))


@dataclass(slots=True)
class _Reading:
    """One viewer's rows, newest first, as far as they are read."""

    part: int
    bound: _Place = _END
    rows: dict[int, list[Interaction]] = field(default_factory=dict)
    """By video, newest first."""


class CassandraHistoryStore:
    """See `HistoryStore`."""

    def __init__(self, leased: Lease, clock: Clock, parts: Buckets) -> None:
        self._rows = leased.rows
        self._clock = clock
        self._parts = parts
        self.check = leased.check
        self.close = leased.close

    async def append(self, made: Sequence[tuple[int, Interaction]]) -> None:
        await self._rows.write(
            (
                _ADD,
                (
                    *(viewer_id, self._parts.of(one.at_ms), one.at_ms, one.video_id, _kind(one), one.author_id),
                    *(one.watched_ms, one.duration_ms, _packed(one), one.like_version, ttl, one.at_ms * 1000),
                ),
            )
            for viewer_id, one in made
            if (ttl := self._parts.ttl_s(one.at_ms))
        )

    async def histories(self, viewer_ids: Collection[int], limit: int) -> Mapping[int, Sequence[Interaction]]:
        newest = self._parts.newest()
        readings = {viewer_id: _Reading(newest) for viewer_id in viewer_ids}
        pending = dict(readings)
        while pending:
            queries = [(_BELOW, (viewer_id, r.part, *r.bound)) for viewer_id, r in pending.items()]
            # Half as much again: some videos were both watched and liked.
            pages = await self._rows.select_each(queries, size=limit + limit // 2 + 1)
            for reading, page in zip(pending.values(), pages, strict=True):
                for row in page.rows:
                    reading.rows.setdefault(row[1], []).append(_interaction(*row))
                if page.state:
                    reading.bound = page.rows[-1][:3]
                else:
                    reading.part, reading.bound = reading.part - 1, _END
            oldest = self._parts.oldest()
            pending = {i: r for i, r in pending.items() if len(r.rows) < limit and r.part >= oldest}
        return {i: _laid(reading, limit) for i, reading in readings.items() if reading.rows}

    async def forget(self, viewer_id: int) -> None:
        stamp = now_ms(self._clock) * 1000 + 999
        parts = [self._parts.newest(), *self._parts.below(self._parts.newest())]
        await self._rows.write((_FORGET, (stamp, viewer_id, part)) for part in parts)

    async def clear(self) -> None:
        await self._rows.define("TRUNCATE viewer_history")


def _laid(reading: _Reading, limit: int) -> list[Interaction]:
    found = []
    for _, rows in zip(range(limit), reading.rows.values(), strict=False):
        whole: Interaction | None = None
        for one in reversed(rows):
            whole = lay(whole, one)
        if whole is not None:
            found.append(whole)
    return found


def _kind(one: Interaction) -> int:
    """Tells apart what was done with one video at one moment."""
    marks = (one.watched_at_ms > 0, one.like_version > 0, one.shared, one.commented, one.not_interested)
    return sum(mark << place for place, mark in enumerate(marks))


def _packed(one: Interaction) -> int:
    return sum(bool(getattr(one, name)) << place for place, name in enumerate(_FLAGS))


def _interaction(
    at_ms: int,
    video_id: int,
    kind: int,
    author_id: int,
    watched_ms: int,
    duration_ms: int,
    flags: int,
    like_version: int,
) -> Interaction:
    done = {name: bool(flags >> place & 1) for place, name in enumerate(_FLAGS)}
    watched_at_ms = at_ms if kind & _WATCHED else 0
    return Interaction(
        *(video_id, author_id, watched_ms, duration_ms, at_ms),
        like_version=like_version,
        watched_at_ms=watched_at_ms,
        **done,
    )
