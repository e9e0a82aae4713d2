"""What all tests share: logs that cost nothing to write, and a closing line for each real server."""

from __future__ import annotations

import structlog
from hypothesis import settings

from tests.support.engine_report import pytest_collection_modifyitems, pytest_unconfigure

__all__ = ["pytest_collection_modifyitems", "pytest_unconfigure"]


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
