from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graph_svc.follows.store import FollowGraph
from graph_svc.follows.stores import SCHEMES
from graph_svc.schema import metadata
from svc_kit.backends import migrate, resolve
from tests.support.databases import DATABASES, common_url
from tests.support.engines import server_url, servers
from tests.support.graph_world import GraphWorld, open_graph_world

SETTING = "REELGRAPH_GRAPH_URL"


@pytest.fixture(params=[*DATABASES, *servers("neo4j")])
async def urls(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where the database and the graph are, empty and ready. Without a URL of its own the graph is in the database."""
    if request.param == "neo4j":
        return {"graph_url": await emptied(server_url(request.param))}
    return {"db_url": await common_url(request.param, tmp_path, "graph", metadata)}


async def emptied(url: str) -> str:
    """The URL of a graph that is ready and empty now."""
    await migrate(SETTING, url, SCHEMES)
    graph = await resolve(SETTING, url, SCHEMES).open(url)
    await graph.replace((0, 0), None, [], 2**62)
    await graph.close()
    return url


@pytest.fixture
async def world(tmp_path: Path, urls: dict[str, Any]) -> AsyncIterator[GraphWorld]:
    async with open_graph_world(tmp_path, **urls) as world:
        yield world


@pytest.fixture
async def idle_world(tmp_path: Path, urls: dict[str, Any]) -> AsyncIterator[GraphWorld]:
    """One whose workers do nothing: events stay where they are."""
    async with open_graph_world(tmp_path, workers=False, **urls) as world:
        yield world


@pytest.fixture
async def graph(request: pytest.FixtureRequest, urls: dict[str, Any]) -> AsyncIterator[FollowGraph]:
    """The world's graph, reached past the service."""
    name = "idle_world" if "idle_world" in request.fixturenames else "world"
    world: GraphWorld = request.getfixturevalue(name)
    url = urls.get("graph_url") or world.platform.settings.service_db_url("graph")
    opened = await resolve(SETTING, url, SCHEMES).open(url)
    yield opened
    await opened.close()
