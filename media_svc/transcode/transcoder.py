"""From a source blob to the files of its set, in a folder of its own that is gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from media_svc.blobs.store import BlobStore
from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.runner import EncodeLimits, LadderResult, OnProgress, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools
from media_svc.transcode.store import SetFacts, SetRendition, SetRow

_COPIES_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class TranscodeLimits:
    """What one transcode may take in and use."""

    probe: ProbeLimits
    encode: EncodeLimits
    rungs: tuple[int, ...]
    threads: int


class Toolbox:
    """ffmpeg, looked for when first needed."""

    def __init__(self, configured: str = "") -> None:
        self._configured = configured or None
        self._found: FfmpegTools | None = None

    async def tools(self) -> FfmpegTools:
        """A usable ffmpeg; raises `ToolsMissing`. What is missing is looked for again the next time."""
        if self._found is None:
            self._found = await FfmpegTools.find(self._configured)
        return self._found


class Transcoder:
    """Makes a set's files."""

    def __init__(self, blobs: BlobStore, folder: Path, toolbox: Toolbox, limits: TranscodeLimits) -> None:
        self._blobs = blobs
        self._folder = folder
        self._toolbox = toolbox
        self._limits = limits

    async def transcode(self, media_set: SetRow, on_progress: OnProgress) -> SetFacts:
        """Make all files of a set, replacing what an earlier attempt left.

        Raises `MediaRejected`, `TranscodeFailed`, `ToolsMissing`, `NoSuchBlob`, `AppError` and what `on_progress` does.
        """
        out = self._folder / str(media_set.id)
        try:
            await asyncio.to_thread(_fresh, out)
            result = await self._encode(media_set, out, on_progress)
            await self._store(media_set, out, result)
            return _facts(result)
        finally:
            # Not awaited: a second cancellation must not leave a folder of gigabytes behind.
            shutil.rmtree(out, ignore_errors=True)

    async def _encode(self, media_set: SetRow, out: Path, on_progress: OnProgress) -> LadderResult:
        tools = await self._toolbox.tools()
        async with self._blobs.as_file(media_set.blob_key) as source:
            info = await probe(source, self._limits.probe, tools)
            return await run_ladder(
                source,
                out,
                info,
                plan_ladder(info, self._limits.rungs),
                tools,
                on_progress=on_progress,
                limits=self._limits.encode,
                threads=self._limits.threads,
            )

    async def _store(self, media_set: SetRow, out: Path, result: LadderResult) -> None:
        await self._blobs.delete_prefix(media_set.prefix)
        limit = asyncio.Semaphore(_COPIES_AT_A_TIME)

        async def put(path: str) -> None:
            async with limit:
                await self._blobs.put_file(media_set.prefix + path, out / path)

        async with asyncio.TaskGroup() as copies:
            for file in result.files:
                copies.create_task(put(file.path))


def _fresh(out: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(out)
    out.mkdir(parents=True)


def _facts(result: LadderResult) -> SetFacts:
    ordered: Sequence[SetRendition] = [
        SetRendition(r.width, r.height, r.codec, r.bitrate_kbps)
        for r in sorted(result.renditions, key=lambda r: r.width * r.height, reverse=True)
    ]
    largest = ordered[0]
    return SetFacts(result.duration_ms, largest.width, largest.height, result.has_audio, tuple(ordered))
