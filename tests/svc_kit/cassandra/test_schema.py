"""Finding out whether a Cassandra can be used, and making it so."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from svc_kit import backends
from svc_kit.backends import EngineUnusable
from svc_kit.cassandra import schema
from svc_kit.cassandra.address import parse
from svc_kit.cassandra.schema import Table, migrate, verify, windows
from svc_kit.cassandra.session import connect
from svc_kit.cassandra.shared import lease
from tests.support.engines import server_url, servers
from tests.support.wide import keyspace_url

SCHEMES = {"cassandra": "graph_svc.notifications.stores.cassandra"}
TABLE = Table("things", {"a": "bigint", "b": "int", "c": "text"}, "(a), b", windows(1))

pytestmark = pytest.mark.parametrize("engine", servers("cassandra"))


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Of a keyspace that is not there yet, and is gone afterwards."""
    made = keyspace_url(f"reelgraph_{secrets.token_hex(4)}")
    yield made
    session = await connect(parse(made), keyspace=False, timeout_s=30)
    await session.define(f"DROP KEYSPACE IF EXISTS {parse(made).keyspace}")
    await session.close()


async def refusal(url: str) -> str:
    with pytest.raises(EngineUnusable) as refused:
        await backends.verify("REELGRAPH_WIDE_URL", url, SCHEMES)
    return str(refused.value)


async def test_a_fresh_server_needs_migrating_and_then_does_not(engine: str, url: str) -> None:
    with pytest.raises(EngineUnusable, match=r"no keyspace .*: run `reelgraph migrate`"):
        await verify(url, [TABLE])
    assert "1 tables" in await migrate(url, [TABLE])
    assert "1 tables" in await migrate(url, [TABLE])
    assert (await verify(url, [TABLE])).startswith("Cassandra ")
    with pytest.raises(EngineUnusable, match="others missing or out of date: run `reelgraph migrate`"):
        await verify(url, [TABLE, replace(TABLE, name="others")])


async def test_a_column_that_came_later_is_added_and_rows_stay(engine: str, url: str) -> None:
    await migrate(url, [TABLE])
    leased = await lease(url)
    await leased.rows.write([("INSERT INTO things (a, b, c) VALUES (?, ?, ?)", (1, 2, "x"))])
    wider = replace(TABLE, columns={**TABLE.columns, "d": "bigint"})
    with pytest.raises(EngineUnusable, match="things missing or out of date"):
        await verify(url, [wider])
    await migrate(url, [wider])
    await verify(url, [wider])
    assert (await leased.rows.select("SELECT a, b, c, d FROM things WHERE a = ?", (1,))).rows == [(1, 2, "x", None)]
    await leased.close()


async def test_several_who_migrate_at_once_do_no_harm(engine: str, url: str) -> None:
    tables = [replace(TABLE, name=f"things_{i}") for i in range(3)]
    await asyncio.gather(*(migrate(url, tables) for _ in range(4)))
    await verify(url, tables)


async def test_an_unreachable_server_a_wrong_password_and_a_wrong_data_centre_are_told_apart(engine: str) -> None:
    parts = urlsplit(server_url("cassandra"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = parts._replace(netloc=f"me:secret-word@127.0.0.1:{probe.getsockname()[1]}")
        said = await refusal(urlunsplit(dead))
    assert said.startswith("REELGRAPH_WIDE_URL=cassandra://me:***@127.0.0.1:")
    assert "no node can be reached" in said and "secret-word" not in said
    wrong = parts._replace(netloc=f"{parts.username}:secret-word@{parts.hostname}:{parts.port}")
    said = await refusal(urlunsplit(wrong))
    assert "wrong user name or password" in said and "secret-word" not in said
    elsewhere = parts._replace(query="datacenter=nowhere")
    assert "no node is in the data centre nowhere" in await refusal(urlunsplit(elsewhere))


async def test_a_server_that_takes_connections_and_says_nothing_is_found_out_in_time(engine: str) -> None:
    parts = urlsplit(server_url("cassandra"))
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    said = await refusal(urlunsplit(parts._replace(netloc=f"me:x@127.0.0.1:{port}")))
    assert "no node can be reached" in said or "no answer within" in said
    silent.close()


async def test_whoever_gives_up_waiting_for_a_silent_server_is_not_held_up(engine: str) -> None:
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    address = parse(f"cassandra://me:x@127.0.0.1:{silent.sockets[0].getsockname()[1]}/things")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect(address)
    silent.close()


async def test_an_old_server_is_refused(engine: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LEAST_VERSION", 99)
    for act in (verify, migrate):
        with pytest.raises(EngineUnusable, match=r"too old; 99\.0 or later is needed|no keyspace"):
            await act(url, [TABLE])


async def test_domains_of_a_process_share_a_session_that_the_last_one_closes(engine: str, url: str) -> None:
    await migrate(url, [TABLE])
    one, other = await asyncio.gather(lease(url), lease(url))
    assert one.rows is other.rows
    await one.close()
    await other.check()
    await other.close()
    again = await lease(url)
    assert again.rows is not other.rows
    await again.check()
    await again.close()
