"""What every relational engine does for the stores: transactions that meet, lost connections, limits, order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, case, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from svc_kit.backends import EngineUnusable
from svc_kit.databases import pool
from svc_kit.databases.url import with_query
from svc_kit.db import (
    ByIds,
    Conflicted,
    Database,
    after,
    blob,
    connect,
    insert_absent,
    insert_new,
    ordered_text,
    upsert,
    verify,
)
from svc_kit.errors import AppError, Reason
from svc_kit.leases import exclusive, lease_table
from tests.support.databases import DATABASES, opened_database
from tests.support.engines import servers

METADATA = MetaData()
ITEMS = Table(
    "items",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("total", Integer, nullable=False),
    Column("version", Integer, nullable=False),
)
NAMES = Table("names", METADATA, Column("name", ordered_text(100), primary_key=True))
BLOBS = Table("blobs", METADATA, Column("id", Integer, primary_key=True), Column("body", blob()))
lease_table(METADATA)
BY_IDS = ByIds(select(ITEMS.c.id, ITEMS.c.total), ITEMS.c.id)
SLEEP = {"postgresql": "SELECT pg_sleep(60)", "mysql": "SELECT SLEEP(60)"}
# Of this database's connections, for other tests have theirs.
KILL = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid != pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id != connection_id()",
}
REAL = servers("postgres", "mysql")


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with opened_database(request.param, tmp_path, METADATA) as db:
        yield db


@pytest.fixture(params=REAL)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with opened_database(request.param, tmp_path, METADATA) as db:
        yield db


async def put(db: Database, *ids: int, total: int = 0) -> None:
    async with db.write() as connection:
        await connection.execute(ITEMS.insert(), [{"id": i, "total": total, "version": 1} for i in ids])


async def total(db: Database, item: int = 1) -> int:
    async with db.read() as connection:
        return int((await connection.execute(select(ITEMS.c.total).where(ITEMS.c.id == item))).scalar_one())


async def add(connection: AsyncConnection, *ids: int) -> None:
    for item in ids:
        await connection.execute(update(ITEMS).where(ITEMS.c.id == item).values(total=ITEMS.c.total + 1))
        await asyncio.sleep(0.01)


async def kill_others(db: Database) -> None:
    """Make the server close every connection of this database but the one that asks it to."""
    async with db.read() as connection:
        found = (await connection.exec_driver_sql(KILL[db.dialect])).scalars().all()
        assert found
        if db.dialect == "mysql":
            for number in found:
                await connection.exec_driver_sql(f"KILL {number}")


async def test_transactions_that_lock_in_a_ring_all_pass(db: Database) -> None:
    await put(db, 1, 2)

    async def one_way(connection: AsyncConnection) -> None:
        await add(connection, 1, 2)

    async def other_way(connection: AsyncConnection) -> None:
        await add(connection, 2, 1)

    await asyncio.gather(db.transact(one_way), db.transact(other_way))
    assert (await total(db, 1), await total(db, 2)) == (2, 2)


async def test_a_transaction_that_goes_on_meeting_another_is_given_up(db: Database) -> None:
    tries = 0

    async def meet(connection: AsyncConnection) -> None:
        nonlocal tries
        tries += 1
        raise Conflicted

    with pytest.raises(AppError) as caught:
        await db.transact(meet)
    assert (caught.value.reason, tries) == (Reason.UNAVAILABLE, 4)
    assert caught.value.retry_after_ms


async def test_of_many_who_insert_one_row_one_does(db: Database) -> None:
    async def insert(connection: AsyncConnection) -> bool:
        done = await insert_absent(db, connection, ITEMS, {"id": 7, "total": 0, "version": 1}, key=["id"])
        # The transaction goes on, whichever way it went.
        await add(connection, 7)
        return done

    assert sum(await asyncio.gather(*(db.transact(insert) for _ in range(4)))) == 1
    assert await total(db, 7) == 4


async def test_a_row_that_another_inserted_meanwhile_is_a_conflict(db: Database) -> None:
    tries = 0

    async def insert(connection: AsyncConnection) -> None:
        nonlocal tries
        tries += 1
        there = (await connection.execute(select(ITEMS.c.id).where(ITEMS.c.id == 1))).first()
        if there is None:
            await asyncio.sleep(0.01)
            await insert_new(connection, ITEMS, [{"id": 1, "total": 0, "version": 1}])
        await add(connection, 1)

    await asyncio.gather(*(db.transact(insert) for _ in range(3)))
    assert await total(db) == 3
    assert tries >= 3


async def test_what_is_exclusive_happens_one_after_the_other(db: Database) -> None:
    inside = 0

    async def alone() -> None:
        nonlocal inside
        async with db.write() as connection:
            await exclusive(db, connection, "name")
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(alone() for _ in range(5)))
    async with db.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(METADATA.tables["leases"])) == 0


async def test_an_upsert_assigns_in_the_order_it_is_given(db: Database) -> None:
    """The version that others are compared with is not changed before them."""
    await put(db, 1)

    def newer(new: Any) -> dict[str, Any]:
        t = ITEMS.c
        return {
            "version": case((new.version > t.version, new.version), else_=t.version),
            "total": case((new.version > 5, new.total), else_=t.total),
        }

    def in_order(new: Any) -> dict[str, Any]:
        t = ITEMS.c
        names = ("total", "version")
        return {name: case((new.version > t.version, new[name]), else_=t[name]) for name in names}

    async with db.write() as connection:
        for version, value in ((3, 30), (2, 20)):
            row = {"id": 1, "total": value, "version": version}
            await connection.execute(upsert(db, ITEMS, row, key=["id"], update=in_order))
        assert tuple((await connection.execute(select(ITEMS.c.total, ITEMS.c.version))).one()) == (30, 3)
        row = {"id": 1, "total": 60, "version": 6}
        await connection.execute(upsert(db, ITEMS, row, key=["id"], update=newer))
        assert tuple((await connection.execute(select(ITEMS.c.total, ITEMS.c.version))).one()) == (60, 6)


async def test_an_update_tells_how_many_rows_it_found(db: Database) -> None:
    await put(db, 1, 2)
    async with db.write() as connection:
        same = await connection.execute(update(ITEMS).values(total=0))
        assert same.rowcount == 2


async def test_a_snapshot_sees_one_moment(server: Database) -> None:
    await put(server, 1)
    async with server.write(snapshot=True) as connection:
        query = select(ITEMS.c.total)
        assert (await connection.execute(query)).scalar_one() == 0
        async with server.write() as other:
            await add(other, 1)
        assert (await connection.execute(query)).scalar_one() == 0
    async with server.write() as connection:
        assert (await connection.execute(select(ITEMS.c.total))).scalar_one() == 1


async def test_reads_by_ids_answer_what_is_there(db: Database) -> None:
    await put(db, *range(1, 40), total=5)
    assert await db.by_ids(BY_IDS, []) == []
    found = await db.by_ids(BY_IDS, [3, 2**62, 1])
    assert sorted(tuple(row) for row in found) == [(1, 5), (3, 5)]
    assert len(await db.by_ids(BY_IDS, range(1, 3000))) == 39


async def test_rows_after_a_key_are_those_of_the_pair_s_order(db: Database) -> None:
    pairs = [(a, b) for a in range(3) for b in range(3)]
    async with db.write() as connection:
        await connection.execute(ITEMS.insert(), [{"id": 10 * a + b, "total": a, "version": b} for a, b in pairs])
        for key in pairs:
            query = select(ITEMS.c.total, ITEMS.c.version).where(after((ITEMS.c.total, ITEMS.c.version), key))
            assert sorted(map(tuple, await connection.execute(query))) == [p for p in pairs if p > key]


async def test_text_is_told_apart_and_sorted_by_code_point(db: Database) -> None:
    names = ["a", "A", "ä", "z", "Z", "日本", "é", "e", "ß", "ss", "🐈", "a b", "ab"]
    async with db.write() as connection:
        await connection.execute(NAMES.insert(), [{"name": name} for name in names])
        found = (await connection.execute(select(NAMES.c.name).order_by(NAMES.c.name))).scalars().all()
        assert found == sorted(names)
        above = await connection.execute(select(NAMES.c.name).where(NAMES.c.name > "a").order_by(NAMES.c.name))
        assert above.scalars().all() == [name for name in sorted(names) if name > "a"]


async def test_bytes_of_any_length_come_back(db: Database) -> None:
    body = bytes(range(256)) * 1000
    async with db.write() as connection:
        await connection.execute(BLOBS.insert().values(id=1, body=body))
        assert (await connection.execute(select(BLOBS.c.body))).scalar_one() == body


async def test_connections_that_the_server_closed_are_replaced_unnoticed(server: Database) -> None:
    await put(server, 1, 2)

    async def use() -> int:
        async with server.read() as connection:
            await asyncio.sleep(0.02)
            return len((await connection.execute(select(ITEMS))).all())

    for _ in range(3):
        await asyncio.gather(*(use() for _ in range(5)), *(server.by_ids(BY_IDS, [1]) for _ in range(3)))
        await kill_others(server)
        await asyncio.sleep(0.1)
        assert set(await asyncio.gather(*(use() for _ in range(5)))) == {2}
        assert len(await server.by_ids(BY_IDS, [1, 2])) == 2
        async with server.write() as connection:
            await add(connection, 1)
    assert await total(server) == 3


async def test_a_connection_that_dies_in_a_transaction_is_unavailable_and_nothing_is_written(server: Database) -> None:
    await put(server, 1)
    with pytest.raises(AppError) as caught:
        async with server.write() as connection:
            await add(connection, 1)
            await kill_others(server)
            await add(connection, 1)
    assert (caught.value.reason, caught.value.retry_after_ms is not None) == (Reason.UNAVAILABLE, True)
    assert await total(server) == 0


async def test_cancelled_statements_leave_the_pool_whole(server: Database) -> None:
    await put(server, 1)

    async def sleep_in(mode: str) -> None:
        if mode == "direct" and server._direct is not None:
            await server._direct.fetch(SLEEP[server.dialect])
        async with server.read() if mode == "read" else server.write() as connection:
            if mode == "write":
                await add(connection, 1)
            await connection.execute(text(SLEEP[server.dialect]))

    for mode in ("read", "write", "direct") * 4:
        task = asyncio.create_task(sleep_in(mode))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await total(server) == 0
    assert len(await server.by_ids(BY_IDS, [1])) == 1
    await asyncio.gather(*(server.transact(lambda connection: add(connection, 1)) for _ in range(10)))
    assert await total(server) == 10


@pytest.mark.parametrize("engine", REAL)
async def test_a_statement_that_takes_too_long_is_unavailable(tmp_path: Path, engine: str) -> None:
    async with opened_database(engine, tmp_path, METADATA, command_s=1) as db:
        with pytest.raises(AppError) as caught:
            async with db.read() as connection:
                await connection.execute(text(SLEEP[db.dialect]))
        assert caught.value.reason is Reason.UNAVAILABLE
        await db.check()


@pytest.mark.parametrize("engine", REAL)
async def test_who_finds_no_free_connection_waits_for_a_bounded_time(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pool.OPTIONS, "pool_timeout", 0.05)
    async with opened_database(engine, tmp_path, METADATA, pool_size=1) as db:
        async with db.read():
            with pytest.raises(AppError) as caught:
                await db.check()
        assert caught.value.reason is Reason.UNAVAILABLE
        await db.check()


@pytest.mark.parametrize("engine", REAL)
async def test_a_lock_that_is_held_for_long_is_unavailable(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOCK_S", 1)
    monkeypatch.setitem(__import__("svc_kit.databases.postgres", fromlist=["x"]).SETTINGS, "lock_timeout", "1s")
    async with opened_database(engine, tmp_path, METADATA) as db:
        await put(db, 1)
        async with db.write() as connection:
            await add(connection, 1)
            with pytest.raises(AppError) as caught:
                async with db.write() as other:
                    await add(other, 1)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert await total(db) == 1


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_server_that_is_away_is_unavailable(scheme: str) -> None:
    db = connect(f"{scheme}://user:secret@127.0.0.1:9/name")
    for attempt in (db.check, lambda: db.by_ids(BY_IDS, [1]), lambda: db.transact(lambda c: add(c, 1))):
        with pytest.raises(AppError) as caught:
            await attempt()
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "secret" not in caught.value.message
    await db.close()


async def test_a_connection_that_is_hung_up_on_as_it_is_made_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(**_arguments: object) -> object:
        # What asyncmy says on uvloop, word for word: a socket that closes just between two of its steps can't be had.
        raise RuntimeError("Transport does not expose socket instance")

    monkeypatch.setattr("asyncmy.connect", hang_up)
    db = connect("mysql://someone:secret@127.0.0.1:1/reelgraph")
    with pytest.raises(AppError) as caught:
        await db.check()
    await db.close()
    assert caught.value.reason is Reason.UNAVAILABLE
    with pytest.raises(EngineUnusable, match="can't connect"):
        await verify("mysql://someone:secret@127.0.0.1:1/reelgraph")


@pytest.mark.parametrize("engine", DATABASES)
def test_it_works_on_uvloop(tmp_path: Path, engine: str) -> None:
    async def use() -> list[int]:
        async with opened_database(engine, tmp_path, METADATA) as db:
            await put(db, 1)
            await asyncio.gather(*(db.transact(lambda connection: add(connection, 1)) for _ in range(5)))
            (row,) = await db.by_ids(BY_IDS, [1])
            return list(row)

    assert uvloop.run(use()) == [1, 5]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("oracle://x", "unknown scheme; valid: mysql, postgres, postgresql, sqlite"),
        ("sqlite:///x.db?pool_size=0", "pool_size must be 1 to 100, not 0"),
        ("postgresql://h/n?pool_size=many", "pool_size must be 1 to 100, not many"),
        ("mysql://h/n?charset=latin1", "unknown option charset; valid: pool_size, sslmode"),
        ("mysql://h/n?sslmode=prefer", "sslmode must be one of disable, require, verify-ca, verify-full, not prefer"),
    ],
)
def test_a_url_that_nobody_understands_is_refused_by_name(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        connect(url)


def test_a_url_keeps_its_query_where_it_is_changed() -> None:
    assert with_query("sqlite:////a/b.db?x=1", {"y": "a b"}) == "sqlite:////a/b.db?y=a%20b"
