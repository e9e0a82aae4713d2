"""Starting, stopping and showing engines side by side, with a line for whatever happens to each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploy.servers import compose, fetch, process
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
            print(f"servers: {time.monotonic() - self.begun:5.1f} s  {engine:13}  {text}", flush=True)


def start(folder: Folder, engines: Sequence[Engine]) -> int:
    """Bring all up in parallel; 1 when one of them failed, which does not touch the others."""
    folder.make()
    terminal = Terminal()
    composed = compose.services(folder, engines)
    with ThreadPoolExecutor(len(engines) + 1) as pool:
        try:
            together = pool.submit(_composed, folder, composed, terminal)
            alone = [engine for engine in engines if engine not in composed]
            outcomes = [*pool.map(lambda engine: _outcome(folder, engine, terminal), alone), together.result()]
        except KeyboardInterrupt:
            fetch.abort()
            pool.shutdown(cancel_futures=True)
            return 130
    if not all(outcomes):
        return 1
    fetch.drop_caches(folder)
    return 0


def _outcome(folder: Folder, engine: Engine, terminal: Terminal) -> bool:
    def say(text: str) -> None:
        terminal.line(engine.NAME, text)

    try:
        with folder.exclusive(engine.NAME):
            say(_bring_up(folder, engine, say))
    except Unavailable as reason:
        say(f"skipped: {reason}")
    except Exception as error:
        # Whatever it is, it is this engine's: the others go on.
        say(f"FAILED: {error if isinstance(error, ServerError) else repr(error)}")
        if isinstance(error, ServerError) and error.log and error.log.exists():
            tail = error.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            say(f"the end of {error.log}:\n" + "\n".join(f"    {line}" for line in tail))
        return False
    return True


def _composed(folder: Folder, engines: Sequence[Engine], terminal: Terminal) -> bool:
    if not engines:
        return True
    terminal.line("compose", f"starting {', '.join(engine.NAME for engine in engines)}")
    try:
        terminal.line("compose", "ready\n" + compose.start(folder, engines))
    except ServerError as error:
        terminal.line("compose", f"FAILED: {error}")
        return False
    return True


def _bring_up(folder: Folder, engine: Engine, say: Callable[[str], None]) -> str:
    """Have it run and export its address; answers how that went."""
    servers = known(folder, engine)
    if servers and _up(servers):
        folder.export({engine.VARIABLE: engine.url(folder)})
        return f"running, {_memory(servers)}"
    folder.export({engine.VARIABLE: ""})
    engine.install(folder, say)
    begun = time.monotonic()
    for server in servers:
        if not _up([server]):
            process.stop(server)
    # A node that goes on keeps what it holds, and its port.
    if not any(map(process.running, servers)):
        folder.choose_ports(engine.PORTS)
    say("starting")
    engine.prepare(folder)
    servers = engine.servers(folder)
    for server in servers:
        if process.running(server) is None:
            process.spawn(server)
    for server in servers:
        _wait(server)
    engine.settle(folder)
    folder.export({engine.VARIABLE: engine.url(folder)})
    return f"ready in {time.monotonic() - begun:.1f} s, {_memory(servers)}"


def known(folder: Folder, engine: Engine) -> list[Server]:
    """The engine's processes, running or not; none before its first start."""
    try:
        return engine.servers(folder) if folder.has_ports(engine.PORTS) else []
    except Unavailable:
        return []


def _unavailable(folder: Folder, engine: Engine) -> str:
    """Why the engine can't be had here, where it knows that before anything is installed."""
    try:
        engine.servers(folder)
    except Unavailable as reason:
        return str(reason)
    except KeyError:
        pass
    return ""


def _up(servers: Sequence[Server]) -> bool:
    return all(process.running(server) and server.ready() for server in servers)


def _wait(server: Server) -> None:
    until = time.monotonic() + server.within_s
    while True:
        # The process after the protocol: on that port another server may have answered.
        is_ready = server.ready()
        if process.running(server) is None:
            raise ServerError(f"{server.name} ended while starting", server.log)
        if is_ready:
            return
        if time.monotonic() > until:
            process.stop(server)
            raise ServerError(f"{server.name} was not ready within {server.within_s:g} s", server.log)
        time.sleep(0.05)


def _memory(servers: Sequence[Server]) -> str:
    return f"{sum(map(process.memory, servers)) / MIB:.0f} MiB"


def stop(folder: Folder, engines: Sequence[Engine]) -> int:
    """Stop all in parallel; 1 when one does not end."""
    folder.make()
    terminal = Terminal()

    def one(engine: Engine) -> bool:
        try:
            with folder.exclusive(engine.NAME):
                folder.export({engine.VARIABLE: ""})
                stopped = [process.stop(server) for server in known(folder, engine)]
        except ServerError as error:
            terminal.line(engine.NAME, f"FAILED: {error}")
            return False
        if any(stopped):
            terminal.line(engine.NAME, "stopped")
        return True

    if composed := compose.services(folder, engines):
        compose.stop(folder, composed)
        terminal.line("compose", "stopped")
    with ThreadPoolExecutor(len(engines) + 1) as pool:
        return 0 if all(list(pool.map(one, [engine for engine in engines if engine not in composed]))) else 1


def status(folder: Folder, engines: Sequence[Engine]) -> int:
    """A line an engine: whether it runs and answers, in how much memory, as which processes, where; 1 when one does
    not that can be had here."""
    folder.make()
    total, complete = 0, True
    if composed := compose.services(folder, engines):
        print(compose.status(folder, composed))
    for engine in [engine for engine in engines if engine not in composed]:
        if why := _unavailable(folder, engine):
            print(f"{engine.NAME:13}  skipped  {why}")
            continue
        servers = known(folder, engine)
        is_up = bool(servers) and _up(servers)
        used = sum(map(process.memory, servers))
        total, complete = total + used, complete and is_up
        pids = [str(process.running(server) or "-") for server in servers]
        ports = [str(folder.port(name)) for name in engine.PORTS] if servers else []
        word = "running" if is_up else "stopped"
        places = f"pid {' '.join(pids)}, port {' '.join(ports)}" if servers else ""
        print(f"{engine.NAME:13}  {word}  {used / MIB:5.0f} MiB  {places}")
    print(f"{'total':13}  {'':7}  {total / MIB:5.0f} MiB")
    return 0 if complete else 1
