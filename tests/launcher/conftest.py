from __future__ import annotations

import sys

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands configure logging for their process, for good: loggers keep what they first met. Here that process is
    shared with tests that read logs, so they go to stderr without being kept."""
    before = structlog.get_config()

    def to_stderr(*_level: str, **_options: bool) -> None:
        structlog.configure(**before | {"logger_factory": structlog.PrintLoggerFactory(sys.stderr)})

    monkeypatch.setattr("svc_kit.telemetry.configure_logging", to_stderr)
