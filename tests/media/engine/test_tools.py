"""Which ffmpeg is used, and what is said when none will do."""

from pathlib import Path

import pytest

from media_svc.transcode.engine.errors import ToolsMissing
from media_svc.transcode.engine.tools import REQUIRED_ENCODERS, REQUIRED_OPTIONS, FfmpegTools


def old_ffmpeg(folder: Path) -> Path:
    """A program that runs and answers, and knows none of the options."""
    path = folder / "ffmpeg"
    path.write_text("#!/bin/sh\necho 'ffmpeg version 0.5 Copyright'\n")
    path.chmod(0o755)
    return path


async def test_a_found_build_knows_what_is_needed(tools: FfmpegTools) -> None:
    assert tools.options >= REQUIRED_OPTIONS and tools.encoders >= REQUIRED_ENCODERS
    assert {"scale", "split", "thumbnail"} <= tools.filters
    assert tools.ffmpeg.is_absolute() and tools.version != "unknown"


async def test_a_configured_build_is_never_silently_replaced(tmp_path: Path) -> None:
    with pytest.raises(ToolsMissing, match="not an executable"):
        await FfmpegTools.find(tmp_path / "nowhere" / "ffmpeg")
    with pytest.raises(ToolsMissing, match="lacks aac, color_ranges"):
        await FfmpegTools.find(old_ffmpeg(tmp_path))


async def test_an_unfit_build_on_path_gives_way_to_the_wheels(
    tools: FfmpegTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_ffmpeg(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = await FfmpegTools.find()
    assert found.ffmpeg.parent != tmp_path and found.options >= REQUIRED_OPTIONS
