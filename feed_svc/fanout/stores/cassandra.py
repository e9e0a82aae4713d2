"""Author timelines in Cassandra.

`timeline_videos` knows each video; its cells are written at the time of the video's version (`_stamp`), so the highest
version wins in whatever order versions arrive, without a read or a lock. What won is read back and laid under the
author and year, and under the day for all authors, at the same time. However two writers overlap, the one whose write
is the later of the two reads the winner back.

A partition is an author's year: of 100 videos a day 36,500 rows, two megabytes. A day of all videos has 16 partitions:
of a million a day 62,500 rows each, five megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from feed_svc.fanout.store import Key, Post, TimelineEntry
from svc_kit.cassandra import schema
from svc_kit.cassandra.buckets import Buckets
from svc_kit.cassandra.rows import Query
from svc_kit.cassandra.schema import Table
from svc_kit.cassandra.shared import Lease, lease
from svc_kit.clock import Clock, now_ms

DAYS_A_YEAR = 365
YEARS = 20
SHARDS = 16
SCAN_ROWS = 1000
LEAST_ROWS = 8
"""Rows read of an author at least, however many there are."""

PUBLIC, PRIVATE = "PUBLIC", "PRIVATE"

TABLES = (
    Table(
        "timeline_videos",
        {
            "video_id": "bigint",
            "author_id": "bigint",
            "published_at_ms": "bigint",
            "visibility": "text",
            "hashtags": "frozen<list<text>>",
            "duration_ms": "bigint",
            "language": "text",
            "version": "bigint",
            "deleted": "boolean",
            "heard_at_ms": "bigint",
        },
        "video_id",
    ),
    Table(
        "author_timelines",
        {
            "author_id": "bigint",
            "year": "int",
            "published_at_ms": "bigint",
            "video_id": "bigint",
            "visibility": "text",
        },
        "(author_id, year), published_at_ms, video_id",
        "CLUSTERING ORDER BY (published_at_ms DESC, video_id DESC)",
    ),
    Table(
        "public_timeline",
        {"day": "int", "shard": "int", "published_at_ms": "bigint", "video_id": "bigint", "visibility": "text"},
        "(day, shard), published_at_ms, video_id",
        "CLUSTERING ORDER BY (published_at_ms DESC, video_id DESC)",
    ),
    Table("public_days", {"part": "int", "day": "int"}, "part, day", "CLUSTERING ORDER BY (day DESC)"),
)

_PUT = (
    "INSERT INTO timeline_videos "
    "(video_id, author_id, published_at_ms, visibility, hashtags, duration_ms, language, version, deleted) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, false) USING TIMESTAMP ?"
)
# When it was published stays: the rows that must go lie there.
_GONE = (
    "INSERT INTO timeline_videos (video_id, author_id, visibility, hashtags, duration_ms, language, version, deleted) "
    "VALUES (?, ?, '', [], 0, '', ?, true) USING TTL ? AND TIMESTAMP ?"
)
_HEARD = "UPDATE timeline_videos SET heard_at_ms = ? WHERE video_id = ?"
_READ_BACK = (
    "SELECT video_id, author_id, published_at_ms, visibility, deleted, WRITETIME(version) "
    "FROM timeline_videos WHERE video_id = ?"
)
_GET = (
    "SELECT video_id, author_id, published_at_ms, visibility, hashtags, duration_ms, language, version, deleted "
    "FROM timeline_videos WHERE video_id = ?"
)
_SCAN = "SELECT video_id, author_id, version, deleted, heard_at_ms FROM timeline_videos"
_LAY = (
    "INSERT INTO author_timelines (author_id, year, published_at_ms, video_id, visibility) "
    "VALUES (?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?"
)
_SHOW = (
    "INSERT INTO public_timeline (day, shard, published_at_ms, video_id, visibility) "
    "VALUES (?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?"
)
_NOTE_DAY = "INSERT INTO public_days (part, day) VALUES (0, ?)"
_OF_AUTHOR = (
    "SELECT published_at_ms, video_id, visibility FROM author_timelines "
    "WHERE author_id = ? AND year = ? AND (published_at_ms, video_id) < (?, ?)"
)
_OF_DAY = (
    "SELECT published_at_ms, video_id, visibility FROM public_timeline "
    "WHERE day = ? AND shard = ? AND (published_at_ms, video_id) < (?, ?)"
)
_DAYS = "SELECT day FROM public_days WHERE part = 0"

_Placed = tuple[Key, tuple[int, int]]
"""Where a video stands, and in which partition."""
_END: Key = (2**63 - 1, 2**63 - 1)


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.verify(url, TABLES)


async def migrate(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.migrate(url, TABLES)


async def open(url: str, own: object = None, *, clock: Clock, gone_days: int) -> CassandraTimelineStore:
    """Timelines in the keyspace at `url`; that a video is gone is known for `gone_days` days."""
    return CassandraTimelineStore(await lease(url), clock, gone_days * 24 * 3600)


def _stamp(version: int, *, removed: bool = False) -> int:
    """The time of the cells of a version: a removal beats its version and gives way to the next one."""
    return 2 * version + removed


@dataclass(slots=True)
class _Partition:
    """One partition that is read newest first, and how far."""

    key: tuple[int, int]
    bound: Key


class CassandraTimelineStore:
    """See `TimelineStore`."""

    def __init__(self, leased: Lease, clock: Clock, gone_s: int) -> None:
        self._rows = leased.rows
        self._clock = clock
        self._gone_s = gone_s
        self._years = Buckets(clock, DAYS_A_YEAR, YEARS * DAYS_A_YEAR)
        self._days = Buckets(clock, 1, YEARS * DAYS_A_YEAR)
        self.check = leased.check
        self.close = leased.close

    async def put(self, entries: Sequence[TimelineEntry]) -> None:
        now = now_ms(self._clock)
        await self._rows.write(query for entry in entries for query in self._versions(entry, now))
        await self._lay([entry.post.video_id for entry in entries])

    def _versions(self, entry: TimelineEntry, now: int) -> Iterator[Query]:
        post, stamp = entry.post, _stamp(entry.version)
        if entry.deleted:
            yield _GONE, (post.video_id, post.author_id, entry.version, self._gone_s, stamp)
        else:
            facts = (entry.visibility, list(entry.hashtags), entry.duration_ms, entry.language[:35], entry.version)
            yield _PUT, (post.video_id, post.author_id, post.published_at_ms, *facts, stamp)
        yield _HEARD, (now, post.video_id)

    async def _lay(self, video_ids: Sequence[int]) -> None:
        """Bring the rows of authors and days to what is known of these videos now."""
        pages = await self._rows.select_each((_READ_BACK, (video_id,)) for video_id in dict.fromkeys(video_ids))
        await self._rows.write(query for page in pages for row in page.rows for query in self._places(*row))

    def _places(
        self, video_id: int, author_id: int, at_ms: int | None, visibility: str, deleted: bool, stamp: int | None
    ) -> Iterator[Query]:
        if at_ms is None or stamp is None:
            return  # nobody knows where it lay, or it was gone so long ago that it is forgotten
        ttl = self._gone_s if deleted else 0
        yield _LAY, (author_id, self._years.of(at_ms), at_ms, video_id, visibility, ttl, stamp)
        day = self._days.of(at_ms)
        yield _SHOW, (day, video_id % SHARDS, at_ms, video_id, visibility, ttl, stamp)
        if visibility == PUBLIC:
            yield _NOTE_DAY, (day,)

    async def newest(
        self, author_ids: Sequence[int], limit: int, *, before: Key | None = None, public_only: bool = False
    ) -> Sequence[Post]:
        shown = {PUBLIC} if public_only else {PUBLIC, "FOLLOWERS"}
        year = self._years.of(before[0]) if before else self._years.newest()
        authors = list(dict.fromkeys(author_ids))
        found: list[_Placed] = []
        for each in (year, *self._years.below(year)):
            partitions = [_Partition((author_id, each), before or _END) for author_id in authors]
            found += await self._until_full(_OF_AUTHOR, partitions, limit - len(found), shown)
            if len(found) >= limit:
                break
        return [Post(video_id, author_id, at_ms) for (at_ms, video_id), (author_id, _) in found]

    async def newest_public(self, limit: int) -> Sequence[TimelineEntry]:
        days = [day for (day,) in (await self._rows.select(_DAYS, ())).rows]
        found: list[_Placed] = []
        start, width = 0, 1
        while start < len(days) and len(found) < limit:
            some = [_Partition((day, shard), _END) for day in days[start : start + width] for shard in range(SHARDS)]
            found += await self._until_full(_OF_DAY, some, limit - len(found), {PUBLIC})
            start, width = start + width, width * 2
        entries = await self.get([video_id for (_, video_id), _ in found])
        public = [entry for entry in entries if entry.visibility == PUBLIC]
        return sorted(public, key=lambda entry: entry.post.key, reverse=True)

    async def _until_full(
        self, query: str, partitions: Sequence[_Partition], limit: int, shown: set[str]
    ) -> list[_Placed]:
        """The newest `limit` of all partitions together with their partitions: a little is read of each, then more of
        those only that may still have something among them."""
        found: list[_Placed] = []
        size = min(limit, LEAST_ROWS + 2 * limit // max(1, len(partitions)))
        while partitions and limit:
            pages = await self._rows.select_each([(query, (*p.key, *p.bound)) for p in partitions], size=size)
            going_on = []
            for partition, page in zip(partitions, pages, strict=True):
                found += [((at_ms, i), partition.key) for at_ms, i, visibility in page.rows if visibility in shown]
                if page.state:
                    partition.bound = page.rows[-1][:2]
                    going_on.append(partition)
            found = sorted(found, reverse=True)[:limit]
            least = found[-1][0] if len(found) == limit else (0, 0)
            partitions = [partition for partition in going_on if partition.bound > least]
        return found

    async def get(self, video_ids: Sequence[int]) -> Sequence[TimelineEntry]:
        pages = await self._rows.select_each((_GET, (video_id,)) for video_id in dict.fromkeys(video_ids))
        found = []
        for video_id, author_id, at_ms, visibility, hashtags, *facts, deleted in (r for p in pages for r in p.rows):
            # Of one that was deleted long ago nothing but the time may be left.
            if visibility and not deleted and at_ms is not None:
                post = Post(video_id, author_id, at_ms)
                found.append(TimelineEntry(post, visibility, tuple(hashtags or ()), *facts))
        return found

    async def remove_unheard(self, before_ms: int) -> int:
        count, state, going_on = 0, b"", True
        while going_on:
            page = await self._rows.select(_SCAN, (), size=SCAN_ROWS, state=state)
            gone = [
                (video_id, author_id, version)
                for video_id, author_id, version, deleted, heard_at_ms in page.rows
                if deleted is False and (heard_at_ms or 0) < before_ms
            ]
            await self._rows.write((_GONE, (*video, self._gone_s, _stamp(video[2], removed=True))) for video in gone)
            await self._lay([video_id for video_id, _, _ in gone])
            count += len(gone)
            state, going_on = page.state, bool(page.state)
        return count
