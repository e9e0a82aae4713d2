"""A node that is killed, restarted or silent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from svc_kit.breaker import CircuitOpen
from svc_kit.cassandra.schema import Table, migrate
from svc_kit.cassandra.shared import FAILURES, Lease, lease
from svc_kit.errors import AppError, Reason
from tests.support.cassandra_server import OwnCassandra
from tests.support.engines import servers

TABLE = Table("things", {"a": "bigint", "b": "bigint"}, "(a), b")
ADD = "INSERT INTO things (a, b) VALUES (?, ?)"
READ = "SELECT b FROM things WHERE a = ?"

pytestmark = [pytest.mark.parametrize("engine", servers("cassandra")), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCassandra]:
    own = OwnCassandra(tmp_path_factory.mktemp("cassandra"))
    yield own
    own.kill()


@pytest.fixture
async def leased(node: OwnCassandra) -> AsyncIterator[Lease]:
    url = f"{node.url}/failures?replication=1&timeout_ms=500"
    await migrate(url, [TABLE])
    opened = await lease(url)
    yield opened
    await opened.close()


async def recovered(leased: Lease) -> None:
    """Return when the session answers again, which it does by itself."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await leased.check()
            except AppError as error:
                assert error.reason in {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED}
                await asyncio.sleep(0.05)


async def test_no_acknowledged_row_is_lost_when_the_node_is_killed(
    engine: str, node: OwnCassandra, leased: Lease
) -> None:
    acknowledged: list[int] = []
    numbers = itertools.count()

    async def write() -> None:
        while True:
            batch = [next(numbers) for _ in range(5)]
            await leased.rows.write((ADD, (number % 10, number)) for number in batch)
            acknowledged.extend(batch)

    writers = [asyncio.create_task(write()) for _ in range(20)]
    while len(acknowledged) < 2000:
        await asyncio.sleep(0.01)
    node.kill()
    refused = await asyncio.gather(*writers, return_exceptions=True)
    assert {getattr(error, "reason", error) for error in refused} == {Reason.UNAVAILABLE}

    await node.restart()
    await recovered(leased)

    pages = await leased.rows.select_each((READ, (part,)) for part in range(10))
    found = {number for page in pages for (number,) in page.rows}
    assert set(acknowledged) <= found
    assert len(acknowledged) >= 2000


async def test_statements_prepared_before_a_restart_still_work(engine: str, node: OwnCassandra, leased: Lease) -> None:
    await leased.rows.write([(ADD, (100, 1))])
    assert (await leased.rows.select(READ, (100,))).rows == [(1,)]
    node.kill()
    await node.restart()
    await recovered(leased)
    await leased.rows.write([(ADD, (100, 2))])
    assert (await leased.rows.select(READ, (100,))).rows == [(1,), (2,)]


async def test_a_silent_node_costs_a_few_timeouts_and_then_nothing_until_it_answers(
    engine: str, node: OwnCassandra, leased: Lease
) -> None:
    await leased.rows.write([(ADD, (200, 1))])
    node.pause()
    try:
        for _ in range(FAILURES):
            with pytest.raises(AppError) as late:
                await leased.rows.select(READ, (200,))
            assert late.value.reason is Reason.UNAVAILABLE
            assert late.value.retry_after_ms
            assert not isinstance(late.value, CircuitOpen)
        with pytest.raises(CircuitOpen):
            await leased.rows.select(READ, (200,))
        with pytest.raises(CircuitOpen):
            await leased.rows.write([(ADD, (200, 2))])
    finally:
        node.resume()
    await recovered(leased)
    assert (await leased.rows.select(READ, (200,))).rows[0] == (1,)
