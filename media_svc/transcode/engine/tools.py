"""Finds ffmpeg and says what the build can do."""

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from media_svc.transcode.engine.errors import ToolsMissing
from media_svc.transcode.engine.process import ChildLimits, run_limited

# Without these an upload could make ffmpeg open other files, or decode frames of any size.
REQUIRED_OPTIONS = frozenset({"format_whitelist", "protocol_whitelist", "max_pixels", "fps_mode", "color_ranges"})
REQUIRED_ENCODERS = frozenset({"libx264", "aac", "mjpeg"})
_LIMITS = ChildLimits(cpu_s=20, memory_bytes=2 << 30, file_bytes=1 << 20, wall_s=60.0, niceness=0)


@dataclass(frozen=True, slots=True)
class FfmpegTools:
    """A usable ffmpeg: where it is, its version, and the filters and encoders of the build.

    `ffprobe` is None where there is none (the wheel has none): nothing here needs it.
    """

    ffmpeg: Path
    ffprobe: Path | None
    version: str
    options: frozenset[str]
    encoders: frozenset[str]
    filters: frozenset[str]

    @classmethod
    async def find(cls, configured: str | Path | None = None) -> Self:
        """The configured program, else the one on PATH, else the wheel's.

        Raises `ToolsMissing` when there is none, or when it lacks an option or encoder that this engine
        needs: a configured one is never silently replaced; an unfit one on PATH gives way to the wheel's.
        """
        problems: list[str] = []
        for candidate in _candidates(configured):
            tools = await cls._inspect(candidate)
            missing = (REQUIRED_OPTIONS - tools.options) | (REQUIRED_ENCODERS - tools.encoders)
            if not missing:
                return tools
            problems.append(f"{candidate} lacks {', '.join(sorted(missing))}")
        raise ToolsMissing("; ".join(problems) or "ffmpeg is neither on PATH nor in the imageio-ffmpeg wheel")

    @classmethod
    async def _inspect(cls, ffmpeg: Path) -> Self:
        version, options, encoders, filters = await asyncio.gather(
            _ask(ffmpeg, "-version"),
            _ask(ffmpeg, "-hide_banner", "-h", "full"),
            _ask(ffmpeg, "-hide_banner", "-encoders"),
            _ask(ffmpeg, "-hide_banner", "-filters"),
        )
        match = re.search(r"ffmpeg version (\S+)", version)
        return cls(
            ffmpeg=ffmpeg,
            ffprobe=_sibling(ffmpeg, "ffprobe"),
            version=match.group(1) if match else "unknown",
            options=frozenset(re.findall(r"^ *-?(\w+)", options, re.MULTILINE)),
            encoders=frozenset(re.findall(r"^ [A-Z.]{6} (\S+)", encoders, re.MULTILINE)),
            filters=frozenset(re.findall(r"^ [A-Z.]{2,3} (\S+)", filters, re.MULTILINE)),
        )


def _candidates(configured: str | Path | None) -> list[Path]:
    if configured:
        found = shutil.which(str(configured))
        if found is None:
            raise ToolsMissing(f"the configured ffmpeg {str(configured)!r} is not an executable file")
        return [Path(found).absolute()]
    places = [shutil.which("ffmpeg"), _from_wheel()]
    return [Path(place).absolute() for place in places if place]


def _from_wheel() -> str | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # the wheel for this platform carries no program
        return None


def _sibling(ffmpeg: Path, name: str) -> Path | None:
    beside = ffmpeg.with_name(name)
    if beside.is_file():
        return beside
    found = shutil.which(name)
    return Path(found).absolute() if found else None


async def _ask(ffmpeg: Path, *arguments: str) -> str:
    lines: list[str] = []

    async def keep(line: str) -> None:
        lines.append(line)

    ended = await run_limited([str(ffmpeg), *arguments], _LIMITS, on_stdout=keep)
    if ended.returncode != 0 or ended.timed_out:
        raise ToolsMissing(f"{ffmpeg} does not run: {ended.stderr_tail[-300:]}")
    return "\n".join(lines)
