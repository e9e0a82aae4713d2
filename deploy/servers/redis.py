"""Redis: one node. It persists nothing: whatever the platform keeps in it can be rebuilt."""

from __future__ import annotations

from collections.abc import Callable

from deploy.servers import fetch, resp
from deploy.servers.engine import MIB, Server
from deploy.servers.folder import Folder, write_private

NAME = "redis"
VARIABLE = "REELGRAPH_TEST_REDIS_URL"
PORTS = {"redis": 26379}
MAX_MEMORY = 640 * MIB


def install(folder: Folder, say: Callable[[str], None]) -> None:
    fetch.program("redis-server", "redis-server", say)


def configuration(folder: Folder, port: int, maximum: int) -> str:
    """What every node of ours has in common."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {folder.secret('redis')}",
            "daemonize no",
            'save ""',
            "appendonly no",
            f"maxmemory {maximum}",
            "maxmemory-policy noeviction",
            "tcp-backlog 128",
            "",
        )
    )


def prepare(folder: Folder) -> None:
    place = folder.of(NAME)
    text = configuration(folder, folder.port("redis"), MAX_MEMORY) + f"databases 64\ndir {place}\n"
    write_private(place / "redis.conf", text)


def servers(folder: Folder) -> list[Server]:
    place, port, password = folder.of(NAME), folder.port("redis"), folder.secret("redis")
    return [
        Server(
            NAME,
            [fetch.need("redis-server"), str(place / "redis.conf")],
            place,
            ready=lambda: resp.answers(port, password),
            memory=2 * MAX_MEMORY,
        )
    ]


def settle(folder: Folder) -> None:
    """Nothing to make."""


def url(folder: Folder) -> str:
    return f"redis://:{folder.secret('redis')}@127.0.0.1:{folder.port('redis')}/0"
