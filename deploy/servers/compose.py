"""The same engines by Docker Compose, where a Docker engine answers and `deploy/compose/engines.yaml` has them.

A service carries the engine's name, is healthy only when all is there that `settle` would make, and is published on
127.0.0.1. What it needs to know is in its environment file: `REELGRAPH_PORT_REDIS_CLUSTER_1` for each of `PORTS`,
`REELGRAPH_SECRET_POSTGRES` for each password, `REELGRAPH_SERVERS` for the folder. `REELGRAPH_SERVERS_FROM=packages`
leaves Docker alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from deploy.servers import fetch
from deploy.servers.catalogue import ENGINES
from deploy.servers.engine import Engine, ServerError
from deploy.servers.folder import ROOT, Folder, write_private

FILE = ROOT / "deploy" / "compose" / "engines.yaml"
PROJECT = "reelgraph-servers"
SECRETS = (
    "postgres",
    "mysql",
    "neo4j",
    "redis",
    "cassandra",
    "kafka",
    "s3-access",
    "s3-secret",
    "triton",
    "meilisearch",
)
UP_S = 600


def services(folder: Folder, engines: Sequence[Engine]) -> list[Engine]:
    """Which of these engines Compose runs here; none without Docker."""
    if os.environ.get("REELGRAPH_SERVERS_FROM") == "packages" or not FILE.exists() or not shutil.which("docker"):
        return []
    try:
        fetch.run(["docker", "info"], within_s=10)
        _choose(folder, list(ENGINES.values()))
        named = _compose(folder, "config", "--services", within_s=30).split()
    except ServerError:
        return []
    return [engine for engine in engines if engine.NAME in named]


def start(folder: Folder, engines: Sequence[Engine]) -> str:
    """Bring these up and wait until they are healthy; answers how they are."""
    _compose(folder, "up", "--detach", "--wait", *_names(engines), within_s=UP_S)
    folder.export({engine.VARIABLE: engine.url(folder) for engine in engines})
    return status(folder, engines)


def stop(folder: Folder, engines: Sequence[Engine]) -> None:
    folder.export({engine.VARIABLE: "" for engine in engines})
    _compose(folder, "stop", *_names(engines), within_s=120)


def status(folder: Folder, engines: Sequence[Engine]) -> str:
    return _compose(folder, "ps", "--all", *_names(engines), within_s=30)


def _names(engines: Sequence[Engine]) -> list[str]:
    return [engine.NAME for engine in engines]


def _choose(folder: Folder, engines: Sequence[Engine]) -> None:
    """Ports for those that have none: a container keeps its own for as long as it exists."""
    for engine in engines:
        if not folder.has_ports(engine.PORTS):
            folder.choose_ports(engine.PORTS)
    write_private(folder.root / "compose.env", environment(folder, engines))


def environment(folder: Folder, engines: Sequence[Engine]) -> str:
    """What the services are told, in the form of an environment file."""
    ports = {f"REELGRAPH_PORT_{_variable(name)}": folder.port(name) for engine in engines for name in engine.PORTS}
    secrets = {f"REELGRAPH_SECRET_{_variable(name)}": folder.secret(name) for name in SECRETS}
    told = {"REELGRAPH_SERVERS": folder.root} | ports | secrets
    return "".join(f"{name}={value}\n" for name, value in told.items())


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _compose(folder: Folder, *words: str, within_s: float) -> str:
    place = ("--project-name", PROJECT, "--env-file", str(folder.root / "compose.env"), "--file", str(FILE))
    return fetch.run(["docker", "compose", *place, *words], within_s=within_s)
