from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph_svc.notifications.stores.cassandra import TABLES
from tests.support.engines import servers
from tests.support.graph_world import GraphWorld, open_graph_world
from tests.support.wide import empty_tables


@pytest.fixture(params=["embedded", *servers("cassandra")])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphWorld]:
    wide_url = await empty_tables(TABLES) if request.param == "cassandra" else ""
    async with open_graph_world(tmp_path, wide_url=wide_url) as world:
        yield world
