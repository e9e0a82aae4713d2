"""Tables as code: what `verify` looks for and `migrate` makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from svc_kit.backends import EngineUnusable
from svc_kit.cassandra.address import Address, parse
from svc_kit.cassandra.session import MIGRATE_S, MissingKeyspace, Session, connect
from svc_kit.errors import AppError

LEAST_VERSION = 4
ATTEMPTS = 5
PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a domain."""

    name: str
    columns: Mapping[str, str]
    """Name -> CQL type."""
    key: str
    """As in CQL: `(viewer_id, month), at_ms`."""
    options: str = ""
    """As after WITH in CQL."""

    def statement(self) -> str:
        """The CQL that makes it."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        made = f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}, PRIMARY KEY ({self.key}))"
        return f"{made} WITH {self.options}" if self.options else made


def windows(days: int) -> str:
    """Table options of what is written about now and expires: files of `days` days, dropped whole."""
    kind = "'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS'"
    return f"compaction = {{{kind}, 'compaction_window_size': {days}}}"


async def verify(url: str, tables: Sequence[Table]) -> str:
    """Look whether the server can be used and has these tables. See `svc_kit.backends`."""
    address = parse(url)
    async with _session(address) as session:
        shown = _version(session)
        found = await _columns(session, address)
        missing = [table.name for table in tables if not table.columns.keys() <= found.get(table.name, set())]
        if missing:
            raise EngineUnusable(f"{', '.join(missing)} missing or out of date: run `reelgraph migrate`")
    return f"{shown}, keyspace {address.keyspace}"


async def migrate(url: str, tables: Sequence[Table]) -> str:
    """Make the keyspace and these tables, or add columns that they lack. See `svc_kit.backends`."""
    address = parse(url)
    async with _session(address, keyspace=False) as session:
        shown = _version(session)
        await _make_keyspace(session, address)
    # Two who make a table at once on different nodes may have to look again once the nodes agree.
    for attempt in range(ATTEMPTS):
        try:
            async with _session(address) as session:
                await _make_tables(session, address, tables)
            break
        except (AppError, MissingKeyspace) as error:
            if attempt + 1 == ATTEMPTS:
                raise EngineUnusable("the tables can't be made: has the user the right to?") from error
            await asyncio.sleep(PAUSE_S)
    return f"{shown}, keyspace {address.keyspace}, {len(tables)} tables"


@asynccontextmanager
async def _session(address: Address, *, keyspace: bool = True) -> AsyncIterator[Session]:
    session = await connect(address, keyspace=keyspace, timeout_s=address.timeout_s if keyspace else MIGRATE_S)
    try:
        yield session
    finally:
        await session.close()


def _version(session: Session) -> str:
    version = session.version
    shown = f"Cassandra {'.'.join(map(str, version))}"
    if version[0] < LEAST_VERSION:
        raise EngineUnusable(f"{shown} is too old; {LEAST_VERSION}.0 or later is needed")
    return shown


async def _make_keyspace(session: Session, address: Address) -> None:
    known = await session.select(
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", [address.keyspace]
    )
    if known.rows:
        return
    try:
        await session.define(
            f"CREATE KEYSPACE IF NOT EXISTS {address.keyspace} WITH replication = {address.replication}"
        )
    except AppError as error:
        raise EngineUnusable(f"the keyspace {address.keyspace} can't be made: has the user the right to?") from error


async def _make_tables(session: Session, address: Address, tables: Sequence[Table]) -> None:
    found = await _columns(session, address)
    for table in tables:
        if table.name not in found:
            await session.define(table.statement())
            continue
        for name in table.columns.keys() - found[table.name]:
            await session.define(f"ALTER TABLE {table.name} ADD IF NOT EXISTS {name} {table.columns[name]}")


async def _columns(session: Session, address: Address) -> dict[str, set[str]]:
    query = "SELECT table_name, column_name FROM system_schema.columns WHERE keyspace_name = ?"
    found: dict[str, set[str]] = {}
    for table, column in (await session.select(query, [address.keyspace])).rows:
        found.setdefault(table, set()).add(column)
    return found
