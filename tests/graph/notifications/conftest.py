from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.graph_world import GraphWorld, open_graph_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GraphWorld]:
    async with open_graph_world(tmp_path) as world:
        yield world
