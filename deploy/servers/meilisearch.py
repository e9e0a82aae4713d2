"""Meilisearch, by Docker Compose alone: no registry of packages has its server."""

from __future__ import annotations

from collections.abc import Callable

from deploy.servers.engine import Server, Unavailable
from deploy.servers.folder import Folder

NAME = "meilisearch"
VARIABLE = "REELGRAPH_TEST_MEILISEARCH_URL"
PORTS = {"meilisearch": 27700}
WHY = f"no package has its server: Docker would run it, or set {VARIABLE}=meilisearch://:KEY@host:7700 to a running one"


def install(folder: Folder, say: Callable[[str], None]) -> None:
    raise Unavailable(WHY)


def prepare(folder: Folder) -> None:
    raise Unavailable(WHY)


def servers(folder: Folder) -> list[Server]:
    raise Unavailable(WHY)


def settle(folder: Folder) -> None:
    """Indexes are made by `reelgraph migrate`."""


def url(folder: Folder) -> str:
    return f"meilisearch://:{folder.secret('meilisearch')}@127.0.0.1:{folder.port('meilisearch')}"
