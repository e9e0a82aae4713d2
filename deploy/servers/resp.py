"""Just enough of Redis's protocol to ask whether a server is ready and to join three into a cluster."""

from __future__ import annotations

import socket
from types import TracebackType


class RespError(Exception):
    """The server's own words."""


class Redis:
    """A connection; commands are words, answers text."""

    def __init__(self, port: int, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._answers = self._socket.makefile("rb")
        self("AUTH", password)

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._answers.close()
        self._socket.close()

    def __call__(self, *words: str) -> str:
        encoded = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        self._socket.sendall(f"*{len(words)}\r\n{encoded}".encode())
        line = self._answers.readline().decode()
        if not line:
            raise RespError("closed the connection")
        kind, rest = line[0], line[1:].strip()
        if kind == "-":
            raise RespError(rest)
        if kind != "$":
            return rest
        return self._answers.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else ""


def answers(port: int, password: str) -> bool:
    """Whether it lets us in and is done loading."""
    try:
        with Redis(port, password) as redis:
            return redis("PING") == "PONG"
    except (OSError, RespError):
        return False
