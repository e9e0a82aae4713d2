"""Named leases in a service's database: one holder at a time, for a bounded time unless renewed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, upsert
from svc_kit.liveness import is_gone


def lease_table(metadata: MetaData) -> Table:
    """One row a lease that was ever taken."""
    return Table(
        "leases",
        metadata,
        Column("name", String(64), primary_key=True),
        Column("holder", String(128), nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
    )


async def exclusive(db: Database, connection: AsyncConnection, name: str) -> None:
    """Until this transaction ends no other one has passed here with this `name` (at most 64 characters): for what no
    row can be locked for, because it is not there yet."""
    if db.dialect == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
    elif db.dialect == "mysql":
        # Whoever inserts the same key waits until this one, deleted already, is committed.
        leases = lease_table(MetaData())
        row = {"name": name, "holder": "", "generation": 0, "expires_at_ms": 0}
        # As an upsert: it waits for the lock to write, while several plain inserts may get that to read, and meet.
        await connection.execute(upsert(db, leases, row, key=["name"]))
        await connection.execute(delete(leases).where(leases.c.name == name))


class Lease:
    """One holder's view of a lease. Whoever acts under it must be harmless when it acts late: a paused process
    can't know.

    `holder`: `svc_kit.liveness.new_holder()`, so that a killed process of this machine is not waited for.
    """

    def __init__(self, db: Database, name: str, holder: str, ttl_ms: int, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._table = lease_table(MetaData())
        self._name = name
        self._holder = holder
        self._ttl_ms = ttl_ms
        self._until = float("-inf")

    @property
    def held(self) -> bool:
        """True while at least a third of the time is left."""
        return self._clock.monotonic() < self._until - self._ttl_ms / 3000

    async def ensure(self) -> bool:
        """Hold it: at no cost while there is enough time left, else by `acquire`."""
        return self.held or await self.acquire()

    async def acquire(self) -> bool:
        """Take or renew it; false when somebody else holds it."""
        began = self._clock.monotonic()
        async with self._db.write() as connection:
            taken = await self._take(connection)
        self._until = began + self._ttl_ms / 1000 if taken else float("-inf")
        return taken

    async def _take(self, connection: AsyncConnection) -> bool:
        leases = self._table
        await connection.execute(
            upsert(
                self._db, leases, {"name": self._name, "holder": "", "generation": 0, "expires_at_ms": 0}, key=["name"]
            )
        )
        query = select(leases.c.holder, leases.c.generation, leases.c.expires_at_ms).where(leases.c.name == self._name)
        row = (await connection.execute(query.with_for_update())).one()
        now = now_ms(self._clock)
        mine = row.holder == self._holder
        if not mine and row.holder and row.expires_at_ms > now and not is_gone(row.holder):
            return False
        await connection.execute(
            update(leases)
            .where(leases.c.name == self._name)
            .values(
                holder=self._holder,
                generation=row.generation + (not mine),
                expires_at_ms=now + self._ttl_ms,
            )
        )
        return True

    async def release(self) -> None:
        """Give it up, if it is still ours."""
        if self._until == float("-inf"):
            return
        self._until = float("-inf")
        leases = self._table
        async with self._db.write() as connection:
            await connection.execute(
                update(leases)
                .where(leases.c.name == self._name, leases.c.holder == self._holder)
                .values(holder="", expires_at_ms=0)
            )
