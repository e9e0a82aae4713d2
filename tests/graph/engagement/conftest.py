from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph_svc.schema import metadata
from tests.support.databases import DATABASES, common_url
from tests.support.graph_world import GraphWorld, open_graph_world


@pytest.fixture(params=DATABASES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphWorld]:
    db_url = await common_url(request.param, tmp_path, "graph", metadata)
    async with open_graph_world(tmp_path, db_url=db_url) as world:
        yield world
