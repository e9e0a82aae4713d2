"""A fresh instance of `reelgraph serve all` as a process of its own, as a user would start it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import grpc

from svc_kit.rpc.client import open_channel
from svc_kit.rpc.tls import Tls
from tests.support.ports import free_port

START_S, STOP_S = 60.0, 20.0


@dataclass(slots=True)
class Instance:
    """One running server process."""

    process: asyncio.subprocess.Process
    url: str
    """The GraphQL endpoint."""
    grpc_port: int
    data_dir: Path

    @property
    def base(self) -> str:
        """The HTTP origin."""
        return self.url.removesuffix("/graphql")

    tls: ClassVar[Tls] = Tls()
    """Of calls to its services: plain text."""

    def grpc_address(self, _service: str) -> str:
        """Where a service answers: all on one port."""
        return f"127.0.0.1:{self.grpc_port}"

    def channel(self, service: str) -> grpc.aio.Channel:
        """A channel to a service."""
        return open_channel(self.grpc_address(service))

    def log_tail(self) -> str:
        """The end of its log."""
        return self.data_dir.with_suffix(".log").read_text()[-3000:]

    async def stop(self) -> int:
        """SIGINT; the exit status. Raises TimeoutError when it has not stopped within 20 s."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def start(
    data_dir: Path, *, http_port: int = 0, grpc_port: int = 0, environment: Mapping[str, str] | None = None
) -> Instance:
    """Start and wait for `ready`. Its log is `data_dir`'s sibling `<name>.log`. Raises RuntimeError with the log's
    tail."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log_path = data_dir.with_suffix(".log")
    grpc_port = grpc_port or free_port()
    log = log_path.open("ab")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "launcher.cli", "serve", "all", "--data-dir", str(data_dir)),
        *("--http-port", str(http_port), "--grpc-port", str(grpc_port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
    )
    log.close()
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        line = ""
    if not line.startswith("ready "):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise RuntimeError(f"the instance did not start: {line!r}\n{log_path.read_text()[-4000:]}")
    return Instance(process, line.removeprefix("ready "), grpc_port, data_dir)


@asynccontextmanager
async def instance(data_dir: Path, **options: int) -> AsyncIterator[Instance]:
    """An instance for the length of the block, killed if the block did not stop it."""
    running = await start(data_dir, **options)  # type: ignore[arg-type]
    try:
        yield running
    finally:
        await running.kill()
