"""What all tests share: logs that cost nothing to write, and a closing line for each real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.support.engine_report import pytest_collection_modifyitems, pytest_unconfigure

__all__ = ["logging_is_left_as_it_was", "pytest_collection_modifyitems", "pytest_unconfigure"]


@pytest.fixture(autouse=True)
def logging_is_left_as_it_was() -> Iterator[None]:
    """Programs that a test runs in this process choose what is logged, for good; others read what is logged."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def pytest_configure() -> None:
    # As it comes, structlog draws every traceback with its variables: tests that break things by the hundred would
    # spend most of their time on that.
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )

    # The same examples on every run: what a random one finds is for a developer's run, not for somebody else's change.
    settings.register_profile("reelgraph", derandomize=True, deadline=None)
    settings.load_profile("reelgraph")
