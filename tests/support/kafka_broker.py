"""A Kafka broker of one test's own, to be killed and stopped. From the jars that `make servers` has fetched."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.servers import kafka as recipe
from deploy.servers import process
from deploy.servers.folder import Folder, default_root
from tests.support.ports import free_port


class Broker:
    """One process, whose data outlives it."""

    def __init__(self, root: Path) -> None:
        jars = default_root() / recipe.NAME / "lib"
        if not any(jars.glob("kafka_*.jar")):
            pytest.skip("`make servers ONLY=kafka` has not fetched Kafka here")
        self._folder = Folder(root)
        self._folder.make()
        self._folder.of(recipe.NAME).joinpath("lib").symlink_to(jars)
        self._folder.choose_ports({name: free_port() for name in recipe.PORTS})
        recipe.prepare(self._folder)
        (self._server,) = recipe.servers(self._folder)
        self.url = recipe.url(self._folder)

    def start(self) -> None:
        """Start it again where it left off; returns when it answers."""
        process.spawn(self._server)
        until = time.monotonic() + 60
        while not self._server.ready():
            assert time.monotonic() < until, self._server.log.read_text()[-2000:]
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT."""
        pid = process.running(self._server)
        assert pid is not None
        os.kill(pid, number)
        if number is signal.SIGKILL:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def close(self) -> None:
        """Kill it if it runs."""
        if process.running(self._server) is not None:
            self.send(signal.SIGKILL)


@contextmanager
def own_broker(root: Path) -> Iterator[Broker]:
    """A started broker, killed afterwards."""
    broker = Broker(root)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
