"""Which engines a process examines at its start, and what is not for engines on servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.backup import back_up
from launcher.engines import engines_of, require_engines
from svc_kit.backends import EngineUnusable
from svc_kit.settings import PlatformSettings


@pytest.fixture
def settings(tmp_path: Path) -> PlatformSettings:
    return PlatformSettings(data_dir=tmp_path)


async def test_an_archive_of_its_own_is_examined_where_it_is_used(
    settings: PlatformSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELGRAPH_FEED_ARCHIVE_URL", "s3://key:secret@127.0.0.1:1/archive?secure=false")
    assert "archive" in {engine.name for engine in engines_of(settings, {"feed"})}
    assert "archive" not in {engine.name for engine in engines_of(settings, {"graph", "gateway"})}
    with pytest.raises(EngineUnusable, match=r"REELGRAPH_FEED_ARCHIVE_URL=s3://.*can.t be reached") as caught:
        await require_engines(settings, {"feed"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("setting", ["db_url", "media_db_url", "bus_url", "blobs_url", "wide_url", "graph_url"])
async def test_a_backup_that_would_miss_what_is_on_a_server_is_refused(
    settings: PlatformSettings, tmp_path: Path, setting: str
) -> None:
    (tmp_path / "graph.db").touch()
    elsewhere = settings.model_copy(update={setting: "other://server"})
    with pytest.raises(ValueError, match=f"^REELGRAPH_{setting.upper()}: .* embedded data alone"):
        await back_up(elsewhere, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
