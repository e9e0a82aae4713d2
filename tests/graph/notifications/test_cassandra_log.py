"""What only the log with several tables can get wrong: being cut off in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

from graph_svc.notifications.grouping import first_id
from graph_svc.notifications.store import Fact, NotificationKind
from graph_svc.notifications.stores.cassandra import TABLES, CassandraNotificationLog, open
from svc_kit.cassandra.rows import Query
from svc_kit.errors import AppError, unavailable
from tests.support.clock import FakeClock
from tests.support.engines import servers
from tests.support.wide import empty_tables

FACT = Fact(1, first_id(20_820) + 5, NotificationKind.LIKE, 2, "v:1", "v:1", 1, 0, 5000)


@pytest.fixture(params=servers("cassandra"))
async def log() -> AsyncIterator[CassandraNotificationLog]:
    opened = await open(await empty_tables(TABLES), clock=FakeClock(), keep_days=90)
    yield opened
    await opened.close()


@pytest.mark.parametrize("written", range(5))
async def test_what_was_cut_off_is_completed_once_by_the_next_delivery(
    log: CassandraNotificationLog, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    write, left = log._rows.write, written

    async def cut_off(statements: Iterable[Query]) -> None:
        nonlocal left
        for statement in statements:
            if not left:
                raise unavailable("gone")
            left -= 1
            await write([statement])

    with monkeypatch.context() as patched:
        patched.setattr(log._rows, "write", cut_off)
        with pytest.raises(AppError):
            await log.append([FACT])

    await log.append([FACT])

    assert await log.newest(1, 0, 0, 10) == [FACT]
    assert await log.after(1, 0, 10) == [FACT]
    assert await log.latest(1) == FACT.id
    assert await log.append([FACT]) == []
