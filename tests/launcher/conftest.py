from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def logs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands configure logging for their process, for good: loggers keep what they first met. Here that process is
    shared with tests that read logs."""
    monkeypatch.setattr("svc_kit.telemetry.configure_logging", lambda *_level, **_options: None)
