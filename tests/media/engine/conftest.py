"""Real media, made once a run with the same ffmpeg that a fresh machine has."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.runner import EncodeLimits, LadderResult, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools


@pytest.fixture(scope="session")
def tools() -> FfmpegTools:
    return asyncio.run(FfmpegTools.find())


class Studio:
    """Makes media files in one folder; the same name is made once."""

    def __init__(self, tools: FfmpegTools, folder: Path) -> None:
        self.tools = tools
        self.folder = folder

    def ffmpeg(self, name: str, *arguments: str) -> Path:
        """Runs ffmpeg with these arguments and the output's path."""
        path = self.folder / name
        if not path.exists():
            command = [str(self.tools.ffmpeg), "-v", "error", "-nostdin", "-y", *arguments, str(path)]
            subprocess.run(command, check=True, timeout=60)
        return path

    def clip(
        self,
        name: str,
        size: str = "180x320",
        seconds: float = 1.0,
        fps: str = "30",
        *,
        sound: bool = True,
        video_filter: str = "null",
        options: tuple[str, ...] = (),
    ) -> Path:
        """A moving picture, with a tone unless `sound` is off."""
        picture = f"testsrc2=s={size}:r={fps}:d={seconds},{video_filter}"
        tone = ("-f", "lavfi", "-i", f"sine=440:d={seconds}", "-c:a", "aac", "-b:a", "64k") if sound else ()
        encode = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-fps_mode", "passthrough")
        return self.ffmpeg(name, "-f", "lavfi", "-i", picture, *tone, *encode, *options)

    def data(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture(scope="session")
def studio(tools: FfmpegTools, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tools, tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def encode(tools: FfmpegTools, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[Path, LadderResult]]:
    """Probes and encodes a file once a run: the output folder and the result."""
    done: dict[Path, tuple[Path, LadderResult]] = {}

    async def ignore(percent: int) -> None:
        del percent

    async def work(source: Path, out: Path) -> LadderResult:
        info = await probe(source, ProbeLimits(), tools)
        renditions = plan_ladder(info)
        return await run_ladder(source, out, info, renditions, tools, on_progress=ignore, limits=EncodeLimits())

    def encoded(source: Path) -> tuple[Path, LadderResult]:
        if source not in done:
            out = tmp_path_factory.mktemp("out")
            done[source] = (out, asyncio.run(work(source, out)))
        return done[source]

    return encoded
