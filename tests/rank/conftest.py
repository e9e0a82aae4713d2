from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rank import RankBench, rank_bench, write_base
from tests.support.shards import sharded_statements

__all__ = ["sharded_statements"]


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
async def bench(tmp_path: Path, base_model: Path) -> AsyncIterator[RankBench]:
    async with rank_bench(tmp_path, base_model) as bench:
        yield bench
