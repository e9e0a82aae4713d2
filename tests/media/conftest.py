"""Clips, made once a run with the ffmpeg that a fresh machine has, and the service for one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from media_svc.transcode.engine.tools import FfmpegTools
from tests.support.media import MediaBench, make_clip, media_bench
from tests.support.shards import sharded_statements

__all__ = ["sharded_statements"]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The bytes of a clip by length and hue; the same one is made once."""
    folder = tmp_path_factory.mktemp("clips")
    found = asyncio.run(FfmpegTools.find())
    made: dict[str, bytes] = {}

    def make(seconds: float = 1.0, hue: int = 0, size: str = "180x320") -> bytes:
        name = f"{seconds}-{hue}-{size}.mp4"
        if name not in made:
            made[name] = make_clip(found.ffmpeg, folder / name, seconds, size, hue)
        return made[name]

    return make


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[MediaBench]:
    """The service with small parts, so that a small clip has several; its workers run."""
    async with media_bench(tmp_path, part_bytes=16 * 1024) as bench:
        yield bench
