"""Watch histories in Cassandra.

A watch is a row under viewer and month, newest first; a second table knows when a viewer watched a video last, and a
page leaves out what was watched again since. Both are only ever added to: watching is frequent, looking back is rare.

A partition is a viewer's month: of 300 watches a day 9,000 rows, half a megabyte; of 3,000 a day five. `last_watches`
is parted by the month in which a video was made, which its id tells.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from feed_svc.watches.store import HistoryEntry, HistoryKey, HistoryPlace, HistorySlice
from svc_kit.cassandra import schema
from svc_kit.cassandra.buckets import Buckets
from svc_kit.cassandra.rows import BadPageState, Query
from svc_kit.cassandra.schema import Table, windows
from svc_kit.cassandra.shared import Lease, lease
from svc_kit.clock import Clock
from svc_kit.errors import AppError, invalid
from svc_kit.ids import created_ms

DAYS_A_PARTITION = 30
LOOK_AHEAD = 10
"""Rows read beyond a full page, to know whether there is another."""

TABLES = (
    Table(
        "watch_history",
        {"viewer_id": "bigint", "month": "int", "at_ms": "bigint", "video_id": "bigint", "watched_ms": "bigint"},
        "(viewer_id, month), at_ms, video_id",
        f"CLUSTERING ORDER BY (at_ms DESC, video_id DESC) AND {windows(7)}",
    ),
    Table(
        "last_watches",
        {"viewer_id": "bigint", "month": "int", "video_id": "bigint", "at_ms": "bigint"},
        "(viewer_id, month), video_id",
    ),
)

_ADD = "INSERT INTO watch_history (viewer_id, month, at_ms, video_id, watched_ms) VALUES (?, ?, ?, ?, ?) USING TTL ?"
# The time of the watch is the time of the cell: whatever arrives in whatever order, the last watch stays.
_LAST = "INSERT INTO last_watches (viewer_id, month, video_id, at_ms) VALUES (?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?"
_BELOW = (
    "SELECT at_ms, video_id, watched_ms FROM watch_history "
    "WHERE viewer_id = ? AND month = ? AND (at_ms, video_id) < (?, ?)"
)
_LOOK = "SELECT video_id, at_ms FROM last_watches WHERE viewer_id = ? AND month = ? AND video_id IN ?"

_END: HistoryKey = (2**63 - 1, 2**63 - 1)
_STATE = struct.Struct(">QQ")


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.verify(url, TABLES)


async def migrate(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.migrate(url, TABLES)


async def open(url: str, own: object = None, *, clock: Clock, keep_days: int) -> CassandraWatchHistory:
    """Histories in the keyspace at `url`, of the last `keep_days` days."""
    return CassandraWatchHistory(await lease(url), Buckets(clock, DAYS_A_PARTITION, keep_days))


@dataclass(frozen=True, slots=True)
class _Read:
    """Where reading stands: below `bound` in `month`, `paging` pages on."""

    month: int
    bound: HistoryKey = _END
    paging: bytes = b""


@dataclass(frozen=True, slots=True)
class _Part:
    """What was read at once, below `bound`, and the server's state behind it; empty at the end of the month."""

    rows: Sequence[tuple[Any, ...]]
    state: bytes
    bound: HistoryKey


@dataclass(slots=True)
class _Found:
    """What a page has so far, and the store's state after an entry that ends what was read at once."""

    entries: list[HistoryEntry] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)


class CassandraWatchHistory:
    """See `WatchHistory`."""

    def __init__(self, leased: Lease, months: Buckets) -> None:
        self._lease = leased
        self._rows = leased.rows
        self._months = months
        self.check = leased.check
        self.close = leased.close

    async def append(self, watches: Sequence[tuple[int, HistoryEntry]]) -> None:
        await self._rows.write(self._statements(watches))

    def _statements(self, watches: Sequence[tuple[int, HistoryEntry]]) -> Iterator[Query]:
        of, ttl_s = self._months.of, self._months.ttl_s
        for viewer_id, watch in watches:
            at_ms, video_id = watch.watched_at_ms, watch.video_id
            if ttl := ttl_s(at_ms):
                yield _LAST, (viewer_id, of(created_ms(video_id)), video_id, at_ms, ttl, at_ms * 1000)
                yield _ADD, (viewer_id, of(at_ms), at_ms, video_id, watch.watched_ms, ttl)

    async def page(self, viewer_id: int, limit: int, after: HistoryPlace | None = None) -> HistorySlice:
        read: _Read | None = self._begin(after)
        found, size = _Found(), limit
        while read is not None and len(found.entries) <= limit:
            # What follows a full page is read along with it, so that both are looked up at once.
            first = await self._part(viewer_id, read, size)
            parts = [first]
            if first.state:
                parts.append(await self._part(viewer_id, replace(read, paging=first.state), LOOK_AHEAD))
            await self._take(viewer_id, parts, found)
            end = parts[-1]
            read = replace(read, paging=end.state) if end.state else await self._older(viewer_id, read.month)
            size = max(limit + 1 - len(found.entries), LOOK_AHEAD)
        more = len(found.entries) > limit
        return HistorySlice(found.entries[:limit], more, found.states.get(limit, "") if more else "")

    def _begin(self, after: HistoryPlace | None) -> _Read:
        if after is None:
            return _Read(self._months.newest())
        month = self._months.of(after.key[0])
        return _Read(month, *_opened(after.state)) if after.state else _Read(month, after.key)

    async def _part(self, viewer_id: int, read: _Read, size: int) -> _Part:
        values = (viewer_id, read.month, *read.bound)
        try:
            page = await self._rows.select(_BELOW, values, size=size, state=read.paging)
        except BadPageState:
            raise _foreign() from None
        return _Part(page.rows, page.state, read.bound)

    async def _take(self, viewer_id: int, parts: Sequence[_Part], found: _Found) -> None:
        """Keep the rows that are the last watch of their video."""
        last = await self.last(viewer_id, [video_id for part in parts for _, video_id, _ in part.rows])
        entries, seen, known = found.entries, found.seen, last.get
        for part in parts:
            kept = False
            for at_ms, video_id, watched_ms in part.rows:
                kept = at_ms >= known(video_id, 0) and video_id not in seen
                if kept:
                    seen.add(video_id)
                    entries.append(HistoryEntry(video_id, at_ms, watched_ms))
            if kept and part.state:
                found.states[len(entries)] = _sealed(part.bound, part.state)

    async def _older(self, viewer_id: int, month: int) -> _Read | None:
        """The next month that has something: one after another would take a rare viewer a dozen reads."""
        months = list(self._months.below(month))
        pages = await self._rows.select_each([(_BELOW, (viewer_id, m, *_END)) for m in months], size=1)
        return next((_Read(m) for m, page in zip(months, pages, strict=True) if page.rows), None)

    async def last(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        months: dict[int, list[int]] = {}
        for video_id in dict.fromkeys(video_ids):
            months.setdefault(self._months.of(created_ms(video_id)), []).append(video_id)
        pages = await self._rows.select_each([(_LOOK, (viewer_id, month, ids)) for month, ids in months.items()])
        return {video_id: at_ms for page in pages for video_id, at_ms in page.rows}


def _sealed(bound: HistoryKey, state: bytes) -> str:
    return base64.urlsafe_b64encode(_STATE.pack(*bound) + state).decode()


def _opened(state: str) -> tuple[HistoryKey, bytes]:
    try:
        raw = base64.b64decode(state, altchars=b"-_", validate=True)
        at_ms, video_id = _STATE.unpack_from(raw)
    except (ValueError, struct.error):
        raise _foreign() from None
    return (at_ms, video_id), raw[_STATE.size :]


def _foreign() -> AppError:
    return invalid("page_token", "This cursor was made by another engine, or has become too old.")
