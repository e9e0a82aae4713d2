"""The real servers' processes, to be frozen, killed and brought back by tests."""

from __future__ import annotations

import asyncio
import os
import signal

from deploy.servers import process, runner
from deploy.servers.catalogue import ENGINES
from deploy.servers.folder import Folder, default_root


class EngineProcess:
    """One engine of `make servers`, all of its processes."""

    def __init__(self, name: str) -> None:
        self._folder = Folder(default_root())
        self._engine = ENGINES[name]

    def address(self) -> str:
        """`host:port` of its first port."""
        return f"127.0.0.1:{self._folder.port(next(iter(self._engine.PORTS)))}"

    def _signal(self, number: signal.Signals) -> None:
        found = [pid for server in runner.known(self._folder, self._engine) if (pid := process.running(server))]
        if not found:
            raise RuntimeError(f"{self._engine.NAME}: no process of ours runs it: nothing would happen to it")
        for pid in found:
            os.kill(pid, number)

    async def freeze(self) -> None:
        """Its connections stay open and nothing is answered any more."""
        self._signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """It goes on as if nothing had been."""
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    async def start(self) -> None:
        """Bring it back, with what it had on disk. Raises RuntimeError when it does not come up, twice: on a busy
        machine a server that was killed may need more than its time."""
        for _ in range(2):
            if not await asyncio.to_thread(runner.start, self._folder, [self._engine]):
                return
        raise RuntimeError(f"{self._engine.NAME} did not come back")
