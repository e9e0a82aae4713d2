"""What an operator is told of a Redis that can't be used, and of one that can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from svc_kit.backends import EngineUnusable, verify
from svc_kit.caches import SCHEMES
from tests.support.ports import free_port
from tests.support.redis_servers import PASSWORD, cluster_url, own_cluster, own_server


async def said(url: str) -> str:
    return await verify("REELGRAPH_CACHE_URL", url, SCHEMES)


async def refusal(url: str) -> str:
    with pytest.raises(EngineUnusable) as refused:
        await said(url)
    message = str(refused.value)
    assert message.startswith("REELGRAPH_CACHE_URL=")
    assert PASSWORD not in message
    return message


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("redis://localhost:99999", "'localhost:99999' is not host:port"),
        ("redis://a:1,b:2", "several hosts are for redis-cluster:// and rediss-cluster:// alone"),
        ("redis://a/b", "the database must be a number, not 'b'"),
        ("redis-cluster://a/1", "a cluster has no numbered databases"),
        ("redis://a?patience=1", "unknown option patience; valid: timeout_ms, connections, ca_file"),
        ("redis://a?timeout_ms=5000", "timeout_ms must be from 1 to 1000, not '5000'"),
        ("redis-cluster://a?connections=many", "connections must be from 1 to 1000, not 'many'"),
    ],
)
async def test_an_address_that_can_not_be_right_is_named(url: str, part: str) -> None:
    assert part in await refusal(url)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis-cluster", "rediss-cluster"])
async def test_nobody_there_is_said(scheme: str) -> None:
    assert "unreachable" in await refusal(f"{scheme}://:{PASSWORD}@127.0.0.1:{free_port()}")


@asynccontextmanager
async def pretender(facts: str) -> AsyncIterator[int]:
    """Something that answers every command with the same INFO; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            for _ in range(2 * int(head[1:])):
                await reader.readline()
            writer.write(b"$%d\r\n%s\r\n" % (len(facts), facts.encode()))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("scheme", "facts", "part"),
    [
        ("redis", "redis_version:6.0.16\r\nrole:master\r\n", "Redis 6.0.16 is too old: at least 6.2 is needed"),
        ("redis", "redis_version:7.2.4\r\nrole:slave\r\n", "a replica, which refuses writes"),
        (
            "redis-cluster",
            "redis_version:6.2.1\r\ncluster_enabled:1\r\ncluster_state:ok\r\n",
            "Redis 6.2.1 is too old: at least 7.0 is needed",
        ),
    ],
)
async def test_what_is_too_old_or_only_a_copy_is_refused(scheme: str, facts: str, part: str) -> None:
    async with pretender(facts) as port:
        assert part in await refusal(f"{scheme}://127.0.0.1:{port}")


async def test_something_else_on_the_port_is_refused_in_time() -> None:
    async with pretender("HTTP/1.1 400 Bad Request") as port:
        assert "too old" in await refusal(f"redis://127.0.0.1:{port}")


async def test_the_embedded_one_needs_no_check() -> None:
    assert await said("memory://") == ""


@pytest.mark.servers
@pytest.mark.engine("redis")
@pytest.mark.xdist_group("redis")
async def test_a_server_says_what_it_is_and_what_could_be_better() -> None:
    async with own_server() as server:
        assert (await said(server.url)).startswith("Redis ")
        assert "advice" not in await said(server.url)
        await server.admin.config_set("maxmemory-policy", "allkeys-lru")
        assert "advice: with maxmemory-policy allkeys-lru" in await said(server.url)
        host = f"127.0.0.1:{server.port}"
        for login in ("", ":wrong@", "somebody:wrong@"):
            assert f"{host}: wrong or missing user name or password" in await refusal(f"redis://{login}{host}")
        assert "belongs to no cluster: use redis://" in await refusal(f"redis-cluster://:{PASSWORD}@{host}")
        server.pause()
        assert "unreachable" in await refusal(server.url)
        server.resume()


@pytest.mark.servers
@pytest.mark.engine("redis-cluster")
@pytest.mark.xdist_group("redis-cluster")
async def test_a_cluster_says_what_it_is_and_which_of_its_servers_is_away() -> None:
    async with own_cluster() as servers:
        assert "cluster of 3 primaries" in await said(cluster_url(servers))
        assert "belongs to a cluster: use redis-cluster://" in await refusal(servers[0].url)
        for login in ("", ":wrong@"):
            host = f"127.0.0.1:{servers[1].port}"
            assert "wrong or missing user name or password" in await refusal(f"redis-cluster://{login}{host}")
        servers[2].pause()
        found = await said(cluster_url(servers))
        assert f"but: 127.0.0.1:{servers[2].port}: unreachable" in found
        servers[2].resume()
        for server in servers:
            await server.admin.config_set("cluster-require-full-coverage", "yes")
        await servers[0].do("CLUSTER", "DELSLOTS", 0)
        assert "the cluster's state is fail" in await refusal(cluster_url(servers[:1]))
