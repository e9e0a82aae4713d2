"""Redis servers of a test's own: to pause, kill, restart, and to move slots between."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.ports import free_port

PASSWORD = "a-password"
SLOTS = 16384


class OwnServer:
    """One `redis-server` on a free port."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self._folder = folder
        self._options = options
        self.port = free_port()
        self.bus_port = 0
        """Where members of a cluster talk to each other."""
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}"
        self.admin = Redis(port=self.port, password=PASSWORD, socket_timeout=10, protocol=2, decode_responses=True)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, empty, and return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD),
            *("--masterauth", PASSWORD, "--save", "", "--dir", str(self._folder), *self._options),
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await self.admin.ping()
                    return
                await asyncio.sleep(0.02)

    async def do(self, *words: str | int) -> Any:
        """One command of an operator's."""
        return await self.admin.execute_command(*words)  # type: ignore[no-untyped-call]

    def pause(self) -> None:
        """It keeps its connections and takes new ones, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """As by kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self.admin.connection_pool.disconnect()


@asynccontextmanager
async def own_server(*options: str) -> AsyncIterator[OwnServer]:
    """A started server, killed in the end; skips the test where there is no `redis-server`."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="rg-redis-") as folder:
        server = OwnServer(Path(folder), options)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()
            await server.admin.aclose()


@asynccontextmanager
async def own_cluster(replicas: int = 0) -> AsyncIterator[list[OwnServer]]:
    """Three primaries with a third of the slots each, then the replicas of the first."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(_member()) for _ in range(3 + replicas)]
        for number, server in enumerate(servers, 1):
            await server.do("CLUSTER", "SET-CONFIG-EPOCH", number)
        for number, server in enumerate(servers[:3]):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            await server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
            await server.admin.config_set("cluster-allow-replica-migration", "no")
        for server in servers[1:]:
            meet = ("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(server.bus_port))
            await servers[0].do(*meet)
        await _until_all(servers, "cluster_known_nodes", str(len(servers)))
        await _until_all(servers, "cluster_slots_assigned", str(SLOTS))
        first_id = await node_id(servers[0])
        for server in servers[3:]:
            await server.do("CLUSTER", "REPLICATE", first_id)
        await _until_all(servers, "cluster_state", "ok")
        yield servers


@asynccontextmanager
async def _member() -> AsyncIterator[OwnServer]:
    bus_port = free_port()
    options = (
        *("--cluster-enabled", "yes", "--cluster-port", str(bus_port), "--cluster-node-timeout", "60000"),
        *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
    )
    async with own_server(*options) as server:
        server.bus_port = bus_port
        yield server


async def node_id(server: OwnServer) -> str:
    """What the cluster calls it."""
    return str(await server.do("CLUSTER", "MYID"))


def cluster_url(servers: Sequence[OwnServer], query: str = "") -> str:
    """The product's URL of a cluster."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"redis-cluster://:{PASSWORD}@{hosts}{query}"


async def _until_all(servers: Sequence[OwnServer], name: str, value: str) -> None:
    async with asyncio.timeout(30):
        for server in servers:
            while (await _cluster_info(server)).get(name) != value:
                await asyncio.sleep(0.05)


async def _cluster_info(server: OwnServer) -> dict[str, str]:
    found = await server.do("CLUSTER INFO")
    return {str(name): str(fact) for name, fact in dict(found).items()}
