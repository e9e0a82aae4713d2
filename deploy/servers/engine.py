"""The shape of an engine's module, and the process that it asks for.

An engine's module has

- `NAME`, `VARIABLE` (the environment variable that holds its address), `PORTS` (name -> default port)
- `install(folder, say)`: get the programs, once; `say(text)` is a word of progress
- `prepare(folder)`: write configuration, and data where there is none yet
- `servers(folder)`: say which processes to run; changes nothing
- `settle(folder)`: what must be there once they answer: roles, databases, buckets. Idempotent
- `url(folder)`: the address as the product's own setting would have it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deploy.servers.folder import Folder

MIB = 1 << 20


class ServerError(Exception):
    """Why an engine is not there, in words for the person at the terminal. `log` is the file to read."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class Unavailable(ServerError):
    """The engine can't be had on this machine; that is no failure."""


@dataclass(frozen=True)
class Server:
    """One process. `ready` asks the protocol, not the port, and is called until it says yes."""

    name: str
    command: Sequence[str]
    folder: Path
    ready: Callable[[], bool]
    within_s: float = 30
    memory: int = 0
    """Bytes of private address space that the kernel grants each process: a net far above the bounds of its own.
    0 where those are all."""
    env: Mapping[str, str] = field(default_factory=dict)
    unprivileged: bool = False
    """Whether it refuses to run as root."""
    stop_signal: str = "TERM"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"


class Engine(Protocol):
    """What the runner sees of an engine's module."""

    NAME: str
    VARIABLE: str
    PORTS: Mapping[str, int]

    def install(self, folder: Folder, say: Callable[[str], None]) -> None: ...

    def prepare(self, folder: Folder) -> None: ...

    def servers(self, folder: Folder) -> list[Server]: ...

    def settle(self, folder: Folder) -> None: ...

    def url(self, folder: Folder) -> str: ...
