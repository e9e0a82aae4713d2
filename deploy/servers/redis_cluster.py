"""Redis Cluster: three masters, each with a third of the slots and no replica."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.servers import fetch, redis, resp
from deploy.servers.engine import MIB, Server, ServerError
from deploy.servers.folder import Folder, write_private

NAME = "redis-cluster"
VARIABLE = "REELGRAPH_TEST_REDIS_CLUSTER_URL"
NODES = (1, 2, 3)
PORTS = {f"redis-cluster-{n}": 27000 + n for n in NODES} | {f"redis-cluster-bus-{n}": 27010 + n for n in NODES}
SLOTS = ("0 5460", "5461 10922", "10923 16383")
MAX_MEMORY = 256 * MIB


def install(folder: Folder, say: Callable[[str], None]) -> None:
    redis.install(folder, say)


def prepare(folder: Folder) -> None:
    for n in NODES:
        place = folder.of(f"{NAME}/{n}")
        text = redis.configuration(folder, folder.port(f"redis-cluster-{n}"), MAX_MEMORY)
        write_private(place / "redis.conf", text + "\n".join(_membership(folder, n)) + f"\ndir {place}\n")


def _membership(folder: Folder, n: int) -> list[str]:
    return [
        f"masterauth {folder.secret('redis')}",
        "cluster-enabled yes",
        f"cluster-port {folder.port(f'redis-cluster-bus-{n}')}",
        "cluster-config-file nodes.conf",
        "cluster-node-timeout 2000",
        # With one master dead the other two thirds go on: what a cluster with replicas does in its bad seconds.
        "cluster-require-full-coverage no",
    ]


def servers(folder: Folder) -> list[Server]:
    return [_node(folder, n) for n in NODES]


def _node(folder: Folder, n: int) -> Server:
    place, port, password = folder.of(f"{NAME}/{n}"), folder.port(f"redis-cluster-{n}"), folder.secret("redis")
    return Server(
        f"node-{n}",
        [fetch.need("redis-server"), str(place / "redis.conf")],
        place,
        ready=lambda: resp.answers(port, password),
        memory=2 * MAX_MEMORY,
    )


def settle(folder: Folder) -> None:
    """Join the nodes where they are not joined, and wait until all three say that all is served."""
    password = folder.secret("redis")
    ports = [folder.port(f"redis-cluster-{n}") for n in NODES]
    # Epochs first, of all: a node that has met another does not take one any more.
    for n, port in zip(NODES, ports, strict=True):
        with resp.Redis(port, password) as node:
            if "cluster_known_nodes:1\r" in node("CLUSTER", "INFO"):
                node("CLUSTER", "SET-CONFIG-EPOCH", str(n))
                node("CLUSTER", "ADDSLOTSRANGE", *SLOTS[n - 1].split())
    for n, port in zip(NODES, ports, strict=True):
        with resp.Redis(port, password) as node:
            # Said at every start: ports may have changed since the nodes wrote down each other's.
            for other in NODES:
                if other != n:
                    at = (str(folder.port(f"redis-cluster-{other}")), str(folder.port(f"redis-cluster-bus-{other}")))
                    node("CLUSTER", "MEET", "127.0.0.1", *at)
    until = time.monotonic() + 20
    while not all(_whole(port, password) for port in ports):
        if time.monotonic() > until:
            raise ServerError("the three nodes do not become one cluster", folder.of(f"{NAME}/1") / "node-1.log")
        time.sleep(0.1)


def _whole(port: int, password: str) -> bool:
    with resp.Redis(port, password) as node:
        info = node("CLUSTER", "INFO")
    return all(line in info for line in ("cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"))


def url(folder: Folder) -> str:
    hosts = ",".join(f"127.0.0.1:{folder.port(f'redis-cluster-{n}')}" for n in NODES)
    return f"redis-cluster://:{folder.secret('redis')}@{hosts}"
