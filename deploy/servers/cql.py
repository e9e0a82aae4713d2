"""Just enough of Cassandra's native protocol (version 4) to make a role before there is one to connect as."""

from __future__ import annotations

import socket
import struct
import time

from deploy.servers.engine import ServerError

_STARTUP, _QUERY, _AUTH_RESPONSE = 0x01, 0x07, 0x0F
_ERROR, _AUTHENTICATE = 0x00, 0x03
_BAD_CREDENTIALS = 0x0100
_QUORUM = 0x0004


class Refused(ServerError):
    """Not this role with this password."""


def asks_for_password(port: int) -> bool:
    """Whether the node serves clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return _start(connection) == _AUTHENTICATE
    except (OSError, ServerError):
        return False


def execute(port: int, role: str, password: str, *statements: str, patience_s: float = 0) -> None:
    """Log in and run the statements. Raises `Refused` when the role is not let in within `patience_s`."""
    until = time.monotonic() + patience_s
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            _start(connection)
            token = f"\0{role}\0{password}".encode()
            try:
                _ask(connection, _AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
            except Refused:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
                continue
            for statement in statements:
                text = statement.encode()
                _ask(connection, _QUERY, struct.pack(">i", len(text)) + text + struct.pack(">HB", _QUORUM, 0))
            return


def _start(connection: socket.socket) -> int:
    options = b"".join(struct.pack(">H", len(word)) + word for word in (b"CQL_VERSION", b"3.0.0"))
    return _ask(connection, _STARTUP, struct.pack(">H", 1) + options)


def _ask(connection: socket.socket, kind: int, body: bytes) -> int:
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, kind, len(body)) + body)
    _, _, _, answered, length = struct.unpack(">BBhBi", _exactly(connection, 9))
    content = _exactly(connection, length)
    if answered == _ERROR:
        (code,) = struct.unpack(">i", content[:4])
        raise (Refused if code == _BAD_CREDENTIALS else ServerError)(content[6:].decode(errors="replace"))
    return int(answered)


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            raise ConnectionError("closed")
        got += more
    return got
