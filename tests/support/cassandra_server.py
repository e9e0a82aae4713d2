"""A Cassandra node of a test's own: to pause, kill and restart. Its programs are those of `make servers`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from deploy.servers import cassandra, process
from deploy.servers.engine import Server
from deploy.servers.folder import Folder, default_root
from tests.support.ports import free_port

START_S = 180


class OwnCassandra:
    """One node in `path`, empty at first; what it acknowledges is on disk."""

    def __init__(self, path: Path) -> None:
        programs = default_root() / cassandra.NAME / "lib"
        if not (programs / ".complete").exists():
            pytest.skip("there is no Cassandra to start: make servers ONLY=cassandra")
        self._folder = Folder(path)
        self._folder.make()
        (self._folder.of(cassandra.NAME) / "lib").symlink_to(programs)
        self._folder.choose_ports({name: free_port() for name in cassandra.PORTS})
        cassandra.prepare(self._folder)
        self._server: Server = cassandra.servers(self._folder)[0]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        cassandra.settle(self._folder)

    @property
    def url(self) -> str:
        """With user and password, without a keyspace's name."""
        return cassandra.url(self._folder).rpartition("/")[0]

    def start(self) -> None:
        """Start it with the data it has, and return when it answers."""
        with self._server.log.open("ab") as log:
            environment = process.environment(self._server.folder)
            self._process = subprocess.Popen(
                self._server.command, cwd=self._server.folder, env=environment, stdout=log, stderr=log
            )
        until = time.monotonic() + START_S
        while not self._server.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"Cassandra does not start: {self._server.log.read_text()[-2000:]}")
            time.sleep(0.2)

    async def restart(self) -> None:
        """Start it again, without holding up others meanwhile."""
        await asyncio.to_thread(self.start)

    def kill(self) -> None:
        """Like a power cut for the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """It keeps its connections and takes new ones, and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
