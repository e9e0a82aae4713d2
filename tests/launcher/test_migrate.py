"""`reelgraph migrate` and what `reelgraph doctor` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.doctor import examine
from launcher.migrate import migrate_all
from svc_kit.settings import PlatformSettings


async def test_doctor_misses_nothing_in_a_folder_that_was_migrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = PlatformSettings(data_dir=tmp_path / "data")

    assert not await examine(settings)
    assert "data folder: " in capsys.readouterr().out
    await migrate_all(settings)
    await examine(settings)

    told = capsys.readouterr().out.splitlines()
    # Whether the explorer is built and ffmpeg there is the machine's affair.
    wrong = [line for line in told if line.startswith("FAIL") and "explorer" not in line and "ffmpeg" not in line]
    assert wrong == []
