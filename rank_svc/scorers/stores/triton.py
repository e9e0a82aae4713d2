"""Models served by Triton: `triton://:KEY@host:port?repository=/folder`, with TLS `triton+ssl://`.

`repository` is a folder of versions as in process; Triton need not see it: a version's files travel in the load
calls, under names that carry the version and a digest of what was loaded. Triton runs with
`--model-control-mode=explicit`.

Options, with their defaults: `timeout_ms=2000` of an inference, `load_timeout_ms=60000`, `in_flight=64` calls at once,
`key_name=triton-key` (what `--grpc-restricted-protocol` calls the key), `ca=`, a file of certificates.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from rank_svc.scorers.folder import VersionFolder
from rank_svc.scorers.layout import MANIFEST, MODELS, POINTER, read_version
from rank_svc.scorers.store import ModelRefused
from rank_svc.scorers.stores.triton_files import PREFIX, ModelFiles, read_files
from rank_svc.scorers.stores.triton_models import TritonModels, drop
from rank_svc.scorers.stores.triton_server import Fault, TritonError, TritonServer, TritonUrl, parse
from rank_svc.scorers.version import VersionScorer
from svc_kit.backends import EngineUnusable
from svc_kit.errors import unavailable
from svc_kit.telemetry import log

OLDEST_MINOR = 30
"""Triton 2.x from this x on takes a model's files in the load call for every backend."""
FORGOTTEN_S = 900.0
"""A version of ours that nobody asked for this long was left by a process that was killed."""
BASE = Path(__file__).resolve().parents[2] / "models" / "base"

_log = log(__name__)


async def open(url: str, threads: anyio.CapacityLimiter) -> TritonRepository:
    """The repository of `url`; nothing is asked of the server yet. Raises EngineUnusable for a wrong URL."""
    options = parse(url)
    return TritonRepository(TritonServer(options), VersionFolder(options.repository), threads)


def folder(url: str) -> Path:
    """Where the versions of `url` lie. Raises EngineUnusable for a wrong URL."""
    return parse(url).repository


class TritonRepository:
    """See `ModelRepository`."""

    def __init__(
        self,
        server: TritonServer,
        versions: VersionFolder,
        threads: anyio.CapacityLimiter,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._versions = versions
        self._threads = threads
        self._now_s = now_s

    async def wanted(self) -> str:
        return await anyio.to_thread.run_sync(self._versions.wanted, limiter=self._threads)

    async def load(self, version: str) -> VersionScorer:
        files = await self._read(version)
        models = TritonModels(self._server, files, lambda: self._read(version), lambda: self._is_wanted(version))
        scorer = VersionScorer(files.manifest, models)
        loaded: list[str] = []
        try:
            await self._load_all(files, loaded)
            await scorer.try_out(files.folder)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await models.stop_examining()
                await drop(self._server, loaded)
            raise
        if loaded:
            await self._sweep(files)
        return scorer

    async def _read(self, version: str) -> ModelFiles:
        return await anyio.to_thread.run_sync(
            lambda: read_files(*self._versions.read(version), self._server.options), limiter=self._threads
        )

    async def _load_all(self, files: ModelFiles, loaded: list[str]) -> None:
        """Load what is not there yet, all at once; their names go into `loaded`."""
        outcomes = await asyncio.gather(
            *(self._load_one(files, model, loaded) for model in MODELS), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _load_one(self, files: ModelFiles, model: str, loaded: list[str]) -> None:
        name, path = files.names[model], files.folder / model / "1" / "model.onnx"
        try:
            if not await self._server.is_ready(name):
                loaded.append(name)
                await self._server.load(name, files.configs[model], files.contents[model])
        except TritonError as error:
            if error.fault is Fault.DOWN:
                raise unavailable("The model server can't be reached.") from error
            raise ModelRefused(f"{path}: Triton can't load it: {error}") from error

    async def _is_wanted(self, version: str) -> bool:
        try:
            return await self.wanted() == version
        except ModelRefused:
            return False

    async def _sweep(self, files: ModelFiles) -> None:
        """Unload versions that nobody asks for: their processes were killed before they could."""
        before_ms = (self._now_s() - FORGOTTEN_S) * 1000
        try:
            for name, asked_at_ms in (await self._server.last_asked()).items():
                if name.startswith(PREFIX) and name not in files.names.values() and 0 < asked_at_ms < before_ms:
                    await self._server.unload(name)
                    _log.info("a forgotten model unloaded", model=name)
        except TritonError as error:
            _log.warning("forgotten models not looked for", error=str(error))

    async def check(self) -> None:
        try:
            is_live = await self._server.is_live()
        except TritonError as error:
            raise unavailable("The model server can't be reached.") from error
        if not is_live:
            raise unavailable("The model server is ending.")

    async def close(self) -> None:
        await self._server.close()


async def verify(url: str) -> str:
    """What serves there; see `svc_kit.backends`."""
    options = parse(url)
    server = TritonServer(options)
    try:
        version = await _usable(server)
    except TritonError as error:
        raise EngineUnusable(_reason(error, options)) from error
    finally:
        await server.close()
    return f"Triton {version}, {await anyio.to_thread.run_sync(_repository, options.repository)}"


async def _usable(server: TritonServer) -> str:
    version = await server.version()
    major, minor, *_ = (int(part) for part in version.split(".")[:2])
    if (major, minor) < (2, OLDEST_MINOR):
        raise EngineUnusable(f"Triton {version} is too old; at least 2.{OLDEST_MINOR} is needed")
    try:
        # Of a model that does not exist: harmless, and refused where models can't be loaded by a call.
        await server.unload(f"{PREFIX}nothing")
    except TritonError as error:
        if "not allowed" in str(error):
            raise EngineUnusable("Triton must run with --model-control-mode=explicit") from error
        raise
    return version


def _reason(error: TritonError, options: TritonUrl) -> str:
    if "restricted" in str(error):
        return f"the key is {'wrong' if options.key else 'missing'}, or not called {options.key_name}"
    if error.fault is Fault.DOWN:
        return f"can't be reached at {options.address}"
    return f"does not answer as Triton does: {error}"


def _repository(place: Path) -> str:
    if not os.access(place, os.R_OK | os.X_OK):
        raise EngineUnusable(f"repository={place} is no readable folder; run `reelgraph migrate` or name another one")
    try:
        return f"version {VersionFolder(place).wanted()} of {place}"
    except ModelRefused as error:
        raise EngineUnusable(f"repository={place} names no version: {error}; run `reelgraph migrate`") from error


async def migrate(url: str) -> str:
    """Make the folder of versions, with the packaged base version where no version should serve yet."""
    place = folder(url)
    try:
        return await anyio.to_thread.run_sync(_furnish, place)
    except OSError as error:
        raise EngineUnusable(f"repository={place} can't be written: {error.strerror}") from error


def _furnish(place: Path) -> str:
    place.mkdir(parents=True, exist_ok=True)
    if not (place / MANIFEST).exists() and not (place / POINTER).exists():
        base = read_version(BASE)
        _put(place / base, lambda draft: shutil.copytree(BASE, draft))
        _put(place / POINTER, lambda draft: draft.write_text(f"{base}\n", encoding="utf-8"))
    try:
        return f"version {VersionFolder(place).wanted()} of {place}"
    except ModelRefused as error:
        raise EngineUnusable(f"repository={place} names no version: {error}; correct it by hand") from error


def _put(target: Path, make: Callable[[Path], object]) -> None:
    """Make it beside and put it in place at once, unless somebody else did."""
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        make(draft)
        if not target.exists():
            os.rename(draft, target)
    except OSError:
        if not target.exists():
            raise
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
