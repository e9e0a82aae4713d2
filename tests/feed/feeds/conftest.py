"""A bench of feed_svc over a world of 40 videos."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.feed_fakes import Bench, feed_bench, small_world


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with feed_bench(tmp_path) as made:
        small_world(made.world)
        await made.publish()
        made.calls.clear()
        yield made
