"""Starting, stopping and showing engines side by side, with a line for whatever happens to each."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploy.servers import process
from deploy.servers.engine import MIB, Engine, Server, ServerError, Unavailable
from deploy.servers.folder import Folder

_LOG_LINES = 25


@dataclass
class Terminal:
    """Whole lines, whoever says them."""

    begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, engine: str, text: str) -> None:
        with self._lock:
            print(f"servers: {time.monotonic() - self.begun:5.1f} s  {engine:14} {text}", flush=True)


def start(folder: Folder, engines: Sequence[Engine]) -> int:
    """Bring all up in parallel; 1 when one of them failed, which does not touch the others."""
    folder.make()
    terminal = Terminal()
    with ThreadPoolExecutor(len(engines)) as pool:
        outcomes = list(pool.map(lambda engine: _outcome(folder, engine, terminal), engines))
    return 0 if all(outcomes) else 1


def _outcome(folder: Folder, engine: Engine, terminal: Terminal) -> bool:
    def say(text: str) -> None:
        terminal.line(engine.NAME, text)

    try:
        with folder.exclusive(engine.NAME):
            say(_bring_up(folder, engine, say))
    except Unavailable as reason:
        say(f"skipped: {reason}")
    except Exception as error:
        say(f"FAILED: {error if isinstance(error, ServerError) else repr(error)}")
        if isinstance(error, ServerError) and error.log and error.log.exists():
            tail = error.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            say(f"the end of {error.log}:\n" + "\n".join(f"    {line}" for line in tail))
        return False
    return True


def _bring_up(folder: Folder, engine: Engine, say: Callable[[str], None]) -> str:
    """Have it run and export its address; answers how that went."""
    with contextlib.suppress(KeyError):
        servers = engine.servers(folder) if _ports_known(folder, engine) else []
        if servers and all(process.running(server) and server.ready() for server in servers):
            folder.export({engine.VARIABLE: engine.url(folder)})
            return f"running, {_memory(servers)}"
    engine.install(folder, say)
    begun = time.monotonic()
    for server in servers_of(folder, engine):
        process.stop(server)
    folder.choose_ports(engine.PORTS)
    say("starting")
    servers = engine.servers(folder)
    for server in servers:
        process.spawn(server)
    for server in servers:
        _wait(server)
    engine.settle(folder)
    folder.export({engine.VARIABLE: engine.url(folder)})
    return f"ready in {time.monotonic() - begun:.1f} s, {_memory(servers)}"


def servers_of(folder: Folder, engine: Engine) -> list[Server]:
    return engine.servers(folder) if _ports_known(folder, engine) else []


def _ports_known(folder: Folder, engine: Engine) -> bool:
    try:
        return all(folder.port(name) for name in engine.PORTS)
    except KeyError:
        return False


def _wait(server: Server) -> None:
    until = time.monotonic() + server.within_s
    while True:
        if process.running(server) is None:
            raise ServerError(f"{server.name} ended while starting", server.log)
        if server.ready() and process.running(server) is not None:
            return
        if time.monotonic() > until:
            process.stop(server)
            raise ServerError(f"{server.name} was not ready within {server.within_s:g} s", server.log)
        time.sleep(0.05)


def _memory(servers: Sequence[Server]) -> str:
    return f"{sum(map(process.memory, servers)) // MIB} MiB"


def stop(folder: Folder, engines: Sequence[Engine]) -> int:
    """Stop all in parallel; 1 when one does not end."""
    terminal = Terminal()

    def one(engine: Engine) -> bool:
        try:
            with folder.exclusive(engine.NAME):
                stopped = [process.stop(server) for server in servers_of(folder, engine)]
        except ServerError as error:
            terminal.line(engine.NAME, f"FAILED: {error}")
            return False
        if any(stopped):
            terminal.line(engine.NAME, "stopped")
        return True

    with ThreadPoolExecutor(len(engines)) as pool:
        return 0 if all(list(pool.map(one, engines))) else 1


def status(folder: Folder, engines: Sequence[Engine]) -> int:
    """A line an engine: whether it runs and answers, where, and in how much memory; 1 when one does not."""
    total, complete = 0, True
    for engine in engines:
        servers = servers_of(folder, engine)
        up = bool(servers) and all(process.running(server) and server.ready() for server in servers)
        used = sum(map(process.memory, servers))
        total, complete = total + used, complete and up
        pids = " ".join(str(process.running(server) or "-") for server in servers)
        where = ", ".join(f"{name} {folder.port(name)}" for name in engine.PORTS) if servers else ""
        print(f"{engine.NAME:14} {'running' if up else 'stopped':8} {used // MIB:5} MiB  pid {pids:22} {where}")
    print(f"{'total':14} {'':8} {total // MIB:5} MiB")
    sys.stdout.flush()
    return 0 if complete else 1
