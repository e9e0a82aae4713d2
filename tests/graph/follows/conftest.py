from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph_svc.follows.store import FollowGraph
from graph_svc.follows.stores import SCHEMES
from svc_kit.backends import migrate, resolve
from tests.support.engines import server_url, servers
from tests.support.graph_world import GraphWorld, open_graph_world

SETTING = "REELGRAPH_GRAPH_URL"


@pytest.fixture(params=["sqlite", *servers("neo4j")])
async def graph_url(request: pytest.FixtureRequest) -> str:
    """Where the graph is, empty and ready; the empty URL is the service's own database."""
    if request.param == "sqlite":
        return ""
    return await emptied(server_url(request.param))


async def emptied(url: str) -> str:
    """The URL of a graph that is ready and empty now."""
    await migrate(SETTING, url, SCHEMES)
    graph = await resolve(SETTING, url, SCHEMES).open(url)
    await graph.replace((0, 0), None, [], 2**62)
    await graph.close()
    return url


@pytest.fixture
async def world(tmp_path: Path, graph_url: str) -> AsyncIterator[GraphWorld]:
    async with open_graph_world(tmp_path, graph_url=graph_url) as world:
        yield world


@pytest.fixture
async def idle_world(tmp_path: Path, graph_url: str) -> AsyncIterator[GraphWorld]:
    """One whose workers do nothing: events stay where they are."""
    async with open_graph_world(tmp_path, workers=False, graph_url=graph_url) as world:
        yield world


@pytest.fixture
async def graph(request: pytest.FixtureRequest, graph_url: str) -> AsyncIterator[FollowGraph]:
    """The world's graph, reached past the service."""
    name = "idle_world" if "idle_world" in request.fixturenames else "world"
    world: GraphWorld = request.getfixturevalue(name)
    url = graph_url or world.platform.settings.service_db_url("graph")
    opened = await resolve(SETTING, url, SCHEMES).open(url)
    yield opened
    await opened.close()
