"""The models of one version on Triton: asked, cured when they are gone or broken, and unloaded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rank_svc.scorers.layout import OUTPUTS
from rank_svc.scorers.store import ModelRefused
from rank_svc.scorers.stores.triton_files import ModelFiles
from rank_svc.scorers.stores.triton_server import Fault, TritonError, TritonServer, rows_of
from rank_svc.scorers.version import array_shapes
from svc_kit.errors import AppError, unavailable
from svc_kit.telemetry import log

CURES = 3
CURES_WITHIN_S = 60.0
"""So often a version is loaded again within this time; then it is left alone until the time is over."""
EXAMINED_EVERY_S = 1.0
EXAMINATION_S = 5.0
"""A dead Python backend takes a second to say so: longer than most callers wait."""

_CURABLE = (Fault.GONE, Fault.BROKEN)
_log = log(__name__)


class TritonModels:
    """`LoadedModels`. `read`: the version's files again; `is_wanted`: whether it should serve now."""

    def __init__(
        self,
        server: TritonServer,
        files: ModelFiles,
        read: Callable[[], Awaitable[ModelFiles]],
        is_wanted: Callable[[], Awaitable[bool]],
    ) -> None:
        self._server = server
        self._read = read
        self._is_wanted = is_wanted
        self._version = files.manifest.version
        self._names = dict(files.names)
        self._columns = files.columns
        self._most_rows = files.most_rows
        self._rows = {model: _blank(files, model) for model in files.names}
        self.inputs: Mapping[str, Sequence[str]] = files.inputs
        self._seconds = server.options.timeout_ms / 1000
        self._cures: deque[float] = deque(maxlen=CURES)
        self._examinations: dict[str, asyncio.Task[bool]] = {}
        self._examined_at: dict[str, float] = {}
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._released = False

    async def run(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._run(model, feed)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _run(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        until = asyncio.get_running_loop().time() + self._seconds
        try:
            return await self._infer(model, feed, self._seconds)
        except asyncio.CancelledError:
            # The caller stopped waiting, perhaps for a model whose process is dead: nobody else would notice.
            self._examine(model)
            raise
        except TritonError as error:
            if error.fault is Fault.REFUSED:
                raise ModelRefused(f"version {self._version}: {model}: {error}") from error
            examination = self._examine(model, at_once=error.fault in _CURABLE)
            left = until - asyncio.get_running_loop().time()
            if error.fault in _CURABLE and examination is not None and left > 0:
                done, _ = await asyncio.wait([examination], timeout=left)
                if done and not examination.cancelled() and examination.result():
                    return await self._again(model, feed)
            raise unavailable("The model server can't answer now.") from error

    async def _again(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        try:
            return await self._infer(model, feed, self._seconds)
        except TritonError as error:
            raise unavailable("The model server can't answer now.") from error

    async def _infer(self, model: str, feed: Mapping[str, NDArray[Any]], seconds: float) -> NDArray[Any]:
        n = len(next(iter(feed.values())))
        step = self._most_rows[model]
        answers = [
            await self._server.infer(
                self._names[model], rows_of(feed, start, start + step, self._columns[model]), OUTPUTS[model], seconds
            )
            for start in range(0, n, step)
        ]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    # ---- Curing -------------------------------------------------------------------------------------------------

    def _examine(self, model: str, *, at_once: bool = False) -> asyncio.Task[bool] | None:
        """See whether the model answers and load it again if that helps, for all who wait; None: it was done just
        now."""
        task = self._examinations.get(model)
        if task is not None and not task.done():
            return task
        now = asyncio.get_running_loop().time()
        if self._released or (not at_once and now - self._examined_at.get(model, -EXAMINED_EVERY_S) < EXAMINED_EVERY_S):
            return None
        self._examined_at[model] = now
        task = self._examinations[model] = asyncio.create_task(self._examination(model))
        return task

    async def _examination(self, model: str) -> bool:
        """Whether it answers in the end."""
        try:
            await self._infer(model, self._rows[model], EXAMINATION_S)
            return True
        except TritonError as error:
            if error.fault not in _CURABLE or not self._may_cure():
                return False
            _log.warning("model is loaded again", model=self._names[model], why=str(error))
            return await self._cure(model, unload=error.fault is Fault.BROKEN)

    def _may_cure(self) -> bool:
        now = asyncio.get_running_loop().time()
        if len(self._cures) == CURES and now - self._cures[0] < CURES_WITHIN_S:
            return False
        self._cures.append(now)
        return True

    async def _cure(self, model: str, *, unload: bool) -> bool:
        name = self._names[model]
        try:
            files = await self._read()
            if files.names[model] != name:
                raise ModelRefused(f"{files.folder}: was changed since it was loaded")
            if unload:
                await self._server.unload(name)
            await self._server.load(name, files.configs[model], files.contents[model])
            await self._infer(model, self._rows[model], EXAMINATION_S)
        except (TritonError, ModelRefused, AppError) as error:
            _log.error("model can't be loaded again", model=name, error=str(error))
            return False
        return True

    # ---- Ending -------------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """Unload it from the server when calls under way have ended, unless it should serve: then other replicas
        ask it."""
        if self._released:
            return
        self._released = True
        try:
            async with asyncio.timeout(2 * self._seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("a version is unloaded under calls", version=self._version)
        await self.stop_examining()
        if not await self._is_wanted():
            await drop(self._server, list(self._names.values()))

    async def stop_examining(self) -> None:
        """Load nothing again from now on."""
        self._released = True
        tasks = list(self._examinations.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drop(server: TritonServer, names: Sequence[str]) -> None:
    """Unload models. One that can't be is swept when the next version is loaded."""
    for name in names:
        try:
            await server.unload(name)
        except TritonError as error:
            _log.warning("model not unloaded", model=name, error=str(error))


def _blank(files: ModelFiles, model: str) -> dict[str, NDArray[Any]]:
    """One row of zeros."""
    shapes = array_shapes(files.manifest)
    return {name: np.zeros((1, *shapes[name][1]), shapes[name][0]) for name in files.inputs[model]}
