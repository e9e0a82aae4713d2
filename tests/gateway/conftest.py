"""A gateway over fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway_fakes import Bench, gateway_over_fakes


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with gateway_over_fakes(tmp_path) as running:
        yield running
