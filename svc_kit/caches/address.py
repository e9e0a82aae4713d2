"""Addresses of Redis servers: `redis://[user]:password@host:port[,host:port...][/database][?option=value]`.

Options: `timeout_ms` (of one call, at most 1000), `connections` (to one server), `ca_file`, `cert_file`, `key_file`
(TLS, with `rediss` and `rediss-cluster`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from svc_kit.backends import EngineUnusable

PORT = 6379
MOST_TIMEOUT_MS = 1000
LISTENERS = 64
"""Subscriptions of one process to one server."""
SPARE = 4
"""Connections beyond those of calls: for asking whether a server that was down answers."""
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the servers are and how to talk to them."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    database: int
    tls: bool
    timeout_s: float = 1.0
    """What a call may take, from asking for a connection to the last answer."""
    connections: int = 32
    """Calls in flight to one server; more wait."""
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def client(self, host: str, port: int, *, connections: int) -> Redis:
        """A client of one server. Nothing is retried here: the caller has one deadline, and truth to fall back on."""
        tls: dict[str, Any] = {}
        if self.tls:
            files = {"ssl_ca_certs": self.ca_file, "ssl_certfile": self.cert_file, "ssl_keyfile": self.key_file}
            tls = {"ssl": True, **{name: file for name, file in files.items() if file}}
        client = Redis(
            host=host,
            port=port,
            db=self.database,
            username=self.username,
            password=self.password,
            socket_timeout=self.timeout_s,
            socket_connect_timeout=self.timeout_s,
            max_connections=connections,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **tls,
        )
        return raw(client)


def raw(client: Redis) -> Redis:
    """The client, answering as the server does."""
    client.response_callbacks.clear()
    return client


_FILES = ("ca_file", "cert_file", "key_file")


def parse(url: str, *, many: bool) -> Address:
    """The address in a URL, of one server or, with `many`, of several of a cluster. Raises `EngineUnusable`."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    found = tuple(_host(text) for text in hosts.split(","))
    if len(found) > 1 and not many:
        raise EngineUnusable("several hosts are for redis-cluster:// and rediss-cluster:// alone")
    database = parts.path.strip("/")
    if database and (many or not database.isdecimal()):
        raise EngineUnusable(
            "a cluster has no numbered databases" if many else f"the database must be a number, not {database!r}"
        )
    options, secure = _options(parts.query), parts.scheme.startswith("rediss")
    if not secure and (idle := [name for name in _FILES if name in options]):
        raise EngineUnusable(f"{idle[0]} needs rediss:// or rediss-cluster://")
    return Address(
        found,
        unquote(username) or None,
        unquote(password) or None,
        int(database or 0),
        secure,
        **options,
    )


def _host(text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < (port := int(match["port"] or PORT)) < 65536:
        raise EngineUnusable(f"{text!r} is not host:port")
    return match["six"] or match["name"], port


def _options(query: str) -> dict[str, Any]:
    kinds: dict[str, Callable[[str], Any]] = {
        "timeout_ms": lambda text: _number("timeout_ms", text, MOST_TIMEOUT_MS) / 1000,
        "connections": lambda text: _number("connections", text, 1000),
        **dict.fromkeys(_FILES, str),
    }
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in kinds:
            raise EngineUnusable(f"unknown option {name}; valid: {', '.join(kinds)}")
        found["timeout_s" if name == "timeout_ms" else name] = kinds[name](text)
    return found


def _number(name: str, text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise EngineUnusable(f"{name} must be from 1 to {most}, not {text!r}")
    return int(text)
