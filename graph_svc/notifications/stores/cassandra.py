"""The notification log in Cassandra.

Facts lie under their receiver and the day of their id, newest first, and once more under the day they arrived, in the
order of arrival. `notification_days` names a receiver's days that have anything: most people hear something on few.

A partition is a receiver's day: of 1,000 facts 120 KB; of a creator with a million likes a day 120 MB, which is the
bound of what is sensible.

There is no lock and no comparing write. A kind, actor, subject and day is claimed by a row a fact, which holds the
moment of arrival too: what comes again finds its own row and writes the very same cells. Facts of one actor come from
one partition of the bus, so one worker at a time claims; where two overlap for a moment (partitions move), two facts of
one actor and subject may stay, which a list shows as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph_svc.notifications.store import Fact, NotificationKind
from svc_kit.cassandra import schema
from svc_kit.cassandra.buckets import Buckets
from svc_kit.cassandra.rows import Page, Query
from svc_kit.cassandra.schema import Table, windows
from svc_kit.cassandra.shared import Lease, lease
from svc_kit.clock import Clock, now_ms
from svc_kit.ids import created_ms

MAX_ID = 2**63 - 1
MAX_UNKNOWN = 10_000
"""Facts looked through after one that is not in the log."""

_FACT = {
    "kind": "text",
    "actor_id": "bigint",
    "target": "text",
    "subject": "text",
    "video_id": "bigint",
    "comment_id": "bigint",
    "created_at_ms": "bigint",
}
_KEYED = {"receiver_id": "bigint", "day": "int", "id": "bigint", "arrival": "bigint"}
TABLES = (
    Table(
        "notification_facts",
        {**_KEYED, **_FACT},
        "(receiver_id, day), id",
        f"CLUSTERING ORDER BY (id DESC) AND {windows(3)}",
    ),
    Table("notification_arrivals", {**_KEYED, **_FACT}, "(receiver_id, day), arrival, id", windows(3)),
    Table(
        "notification_claims",
        {
            "receiver_id": "bigint",
            "day": "int",
            "kind": "text",
            "actor_id": "bigint",
            "subject": "text",
            "fact_id": "bigint",
            "told": "boolean",
            "arrival": "bigint",
        },
        "(receiver_id, day), kind, actor_id, subject, fact_id",
        windows(3),
    ),
    Table(
        "notification_days",
        {"receiver_id": "bigint", "day": "int"},
        "receiver_id, day",
        "CLUSTERING ORDER BY (day DESC)",
    ),
)

_WHOLE = ", ".join(("receiver_id", "id", *_FACT))
_INSERT = f"({_WHOLE}, day, arrival) VALUES ({', '.join('?' * (len(_FACT) + 4))}) USING TTL ?"
_PUT = f"INSERT INTO notification_facts {_INSERT}"
_ARRIVE = f"INSERT INTO notification_arrivals {_INSERT}"
_CLAIM = (
    "INSERT INTO notification_claims (receiver_id, day, kind, actor_id, subject, fact_id, told, arrival) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?"
)
_NOTE_DAY = "INSERT INTO notification_days (receiver_id, day) VALUES (?, ?) USING TTL ?"
_CLAIMS = (
    "SELECT fact_id, told, arrival FROM notification_claims "
    "WHERE receiver_id = ? AND day = ? AND kind = ? AND actor_id = ? AND subject = ?"
)
_DAYS = "SELECT day FROM notification_days WHERE receiver_id = ? AND day <= ? AND day >= ?"
_NEWEST = f"SELECT {_WHOLE} FROM notification_facts WHERE receiver_id = ? AND day = ? AND id < ? AND id > ? LIMIT ?"
_GET = f"SELECT {_WHOLE} FROM notification_facts WHERE receiver_id = ? AND day = ? AND id IN ?"
_ARRIVAL = "SELECT arrival FROM notification_facts WHERE receiver_id = ? AND day = ? AND id = ?"
_ARRIVED = f"SELECT {_WHOLE} FROM notification_arrivals WHERE receiver_id = ? AND day = ? AND arrival > ?"
_AFTER = f"{_ARRIVED} LIMIT ?"
_MISSED = f"{_ARRIVED} ORDER BY arrival DESC, id DESC LIMIT ?"

_ClaimKey = tuple[int, int, str, int, str]


@dataclass(frozen=True, slots=True)
class _Claim:
    """One fact's row among those of its receiver, kind, actor, subject and day."""

    told: bool
    arrival: int


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.verify(url, TABLES)


async def migrate(url: str) -> str:
    """See `svc_kit.backends`."""
    return await schema.migrate(url, TABLES)


async def open(url: str, own: object = None, *, clock: Clock, keep_days: int) -> CassandraNotificationLog:
    """The log in the keyspace at `url`, of the last `keep_days` days."""
    return CassandraNotificationLog(await lease(url), clock, Buckets(clock, 1, keep_days))


class CassandraNotificationLog:
    """See `NotificationLog`."""

    def __init__(self, leased: Lease, clock: Clock, days: Buckets) -> None:
        self._rows = leased.rows
        self._clock = clock
        self._days = days
        self._last_arrival = 0
        self.check = leased.check
        self.close = leased.close

    async def append(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        kept = sorted((f for f in facts if self._ttl_s(f)), key=lambda f: (f.receiver_id, f.id))
        claims = await self._claims(kept)
        fresh: list[tuple[Fact, int]] = []
        again: list[tuple[Fact, int]] = []
        for fact in kept:
            claimed = claims[self._claim_key(fact)]
            mine = claimed.get(fact.id)
            if mine is not None:
                if mine.told:
                    again.append((fact, mine.arrival))
            elif not any(other.told for other in claimed.values()):
                claimed[fact.id] = _Claim(True, self._arrival())
                fresh.append((fact, claimed[fact.id].arrival))
        # The claim first: with it, whoever comes after a kill completes the fact instead of arriving anew.
        await self._rows.write(self._claim(fact, told=True, arrival=arrival) for fact, arrival in fresh)
        await self._rows.write(self._put([*fresh, *again]))
        return [fact for fact, _ in fresh]

    async def skip(self, facts: Sequence[Fact]) -> None:
        kept = [fact for fact in facts if self._ttl_s(fact)]
        claims = await self._claims(kept)
        unclaimed = [fact for fact in kept if fact.id not in claims[self._claim_key(fact)]]
        await self._rows.write(self._claim(fact, told=False, arrival=0) for fact in unclaimed)

    async def _claims(self, facts: Sequence[Fact]) -> dict[_ClaimKey, dict[int, _Claim]]:
        keys = list(dict.fromkeys(self._claim_key(fact) for fact in facts))
        pages = await self._rows.select_each((_CLAIMS, key) for key in keys)
        return {
            key: {fact_id: _Claim(told, arrival) for fact_id, told, arrival in page.rows}
            for key, page in zip(keys, pages, strict=True)
        }

    def _claim_key(self, fact: Fact) -> _ClaimKey:
        return fact.receiver_id, self._day(fact.id), fact.kind.value, fact.actor_id, fact.subject

    def _claim(self, fact: Fact, *, told: bool, arrival: int) -> Query:
        return _CLAIM, (*self._claim_key(fact), fact.id, told, arrival, self._ttl_s(fact))

    def _put(self, arrived: Sequence[tuple[Fact, int]]) -> Iterator[Query]:
        days: set[tuple[int, int]] = set()
        for fact, arrival in arrived:
            values, ttl = _values(fact), self._ttl_s(fact)
            day, came = self._day(fact.id), self._days.of(arrival // 1000)
            days |= {(fact.receiver_id, day), (fact.receiver_id, came)}
            yield _PUT, (*values, day, arrival, ttl)
            yield _ARRIVE, (*values, came, arrival, ttl)
        for receiver_id, day in days:
            yield _NOTE_DAY, (receiver_id, day, self._days.ttl_s(self._days.end_ms(day)))

    def _arrival(self) -> int:
        """Microseconds since 1970; never the same twice."""
        self._last_arrival = max(self._last_arrival + 1, now_ms(self._clock) * 1000)
        return self._last_arrival

    def _day(self, id_: int) -> int:
        return self._days.of(created_ms(id_))

    def _ttl_s(self, fact: Fact) -> int:
        return self._days.ttl_s(created_ms(fact.id))

    async def newest(self, receiver_id: int, before_id: int, above_id: int, limit: int) -> Sequence[Fact]:
        before = before_id or MAX_ID
        days = await self._listed(receiver_id, self._day(before), self._day(above_id))
        return await self._until_full(
            days, limit, lambda day, left: (_NEWEST, (receiver_id, day, before, above_id, left))
        )

    async def get(self, receiver_id: int, ids: Sequence[int]) -> Mapping[int, Fact]:
        days: dict[int, list[int]] = {}
        for fact_id in ids:
            days.setdefault(self._day(fact_id), []).append(fact_id)
        pages = await self._rows.select_each((_GET, (receiver_id, day, some)) for day, some in days.items())
        return {fact.id: fact for page in pages for fact in _facts(page)}

    async def after(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        since = await self._since(receiver_id, fact_id)
        if since is None:
            return (await self._unknown(receiver_id, fact_id))[:limit]
        days = [*reversed(await self._arrival_days(receiver_id, since))]
        found = await self._until_full(days, limit, lambda day, left: (_AFTER, (receiver_id, day, since, left)))
        return _each_once(found)

    async def missed(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        since = await self._since(receiver_id, fact_id)
        if since is None:
            return (await self._unknown(receiver_id, fact_id))[-limit:]
        days = await self._arrival_days(receiver_id, since)
        found = await self._until_full(days, limit, lambda day, left: (_MISSED, (receiver_id, day, since, left)))
        return _each_once(found[::-1])

    async def latest(self, receiver_id: int) -> int:
        days = await self._arrival_days(receiver_id, 0)
        found = await self._until_full(days, 1, lambda day, left: (_MISSED, (receiver_id, day, 0, left)))
        return found[0].id if found else 0

    async def _since(self, receiver_id: int, fact_id: int) -> int | None:
        """When a fact arrived; 0 for the beginning, None when it is not in the log."""
        if not fact_id:
            return 0
        found = await self._rows.select(_ARRIVAL, (receiver_id, self._day(fact_id), fact_id))
        return int(found.rows[0][0]) if found.rows else None

    async def _unknown(self, receiver_id: int, fact_id: int) -> list[Fact]:
        """Facts with a greater id, in the order they arrived."""
        by_id = {fact.id for fact in await self.newest(receiver_id, 0, fact_id, MAX_UNKNOWN)}
        return [fact for fact in await self.after(receiver_id, 0, MAX_UNKNOWN) if fact.id in by_id]

    async def _arrival_days(self, receiver_id: int, since: int) -> list[int]:
        """Days on which something may have arrived, newest first: for a stream that is up to date, no read."""
        first, last = self._days.of(since // 1000), self._days.newest()
        if last - first <= 1:
            return list(range(last, first - 1, -1))
        return await self._listed(receiver_id, last, first)

    async def _listed(self, receiver_id: int, newest: int, oldest: int) -> list[int]:
        newest, oldest = min(newest, 2**31 - 1), max(oldest, self._days.oldest())
        return [day for (day,) in (await self._rows.select(_DAYS, (receiver_id, newest, oldest))).rows]

    async def _until_full(self, days: Sequence[int], limit: int, query: Callable[[int, int], Query]) -> list[Fact]:
        """The facts of one day after another, several days at once the more of them were not enough."""
        found: list[Fact] = []
        start, width = 0, 1
        while start < len(days) and len(found) < limit:
            left = limit - len(found)
            pages = await self._rows.select_each(query(day, left) for day in days[start : start + width])
            found += [fact for page in pages for fact in _facts(page)]
            start, width = start + width, width * 2
        return found[:limit]


def _each_once(facts: Sequence[Fact]) -> list[Fact]:
    """Two workers that appended the same fact at the same moment gave it two arrivals: the first holds."""
    return list({fact.id: fact for fact in reversed(facts)}.values())[::-1]


def _values(fact: Fact) -> tuple[Any, ...]:
    return (
        *(fact.receiver_id, fact.id, fact.kind.value, fact.actor_id, fact.target, fact.subject),
        *(fact.video_id, fact.comment_id, fact.created_at_ms),
    )


def _facts(page: Page) -> list[Fact]:
    return [Fact(receiver_id, id_, NotificationKind(kind), *rest) for receiver_id, id_, kind, *rest in page.rows]
