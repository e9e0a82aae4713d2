"""What a `kafka://` URL says, and clients of kafka-python made of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from svc_kit.backends import without_secret
from svc_kit.bus.layout import MAX_PAYLOAD_BYTES
from svc_kit.errors import AppError, unavailable
from svc_kit.telemetry import log

MAX_MESSAGE_BYTES = MAX_PAYLOAD_BYTES + 65_536
"""A payload with its key, headers, and the error of a dead letter."""
BOOTSTRAP_S = 4.0
"""Less than the 5 s within which an engine is found unusable."""
DEAD_LETTERS = "dead-letters"
SCHEMES = {"kafka": False, "kafka+ssl": True}
"""Whether the connection is by TLS."""
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """See `settings_of`."""

    servers: tuple[str, ...]
    secure: bool = False
    user: str = ""
    password: str = ""
    mechanism: str = "PLAIN"
    ca: str = ""
    cert: str = ""
    key: str = ""
    prefix: str = "reelgraph."
    partitions: int = 0
    replication: int = -1
    retention_hours: float = 0.0
    timeout_s: float = 5.0
    session_s: float = 10.0
    hold_s: float = 10.0

    def topic(self, name: str) -> str:
        """A topic's name on the broker."""
        return self.prefix + name

    def group(self, name: str) -> str:
        """A group's name on the broker."""
        return self.prefix + name

    @property
    def timeout_ms(self) -> int:
        """`timeout_s` as kafka-python takes it."""
        return int(self.timeout_s * 1000)

    def client(self, purpose: str) -> dict[str, Any]:
        """What every kind of client is configured with."""
        protocol = ("SASL_" if self.user else "") + ("SSL" if self.secure else "PLAINTEXT")
        configs: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": f"reelgraph-{purpose}",
            "security_protocol": protocol,
            "bootstrap_timeout_ms": int(min(self.timeout_s, BOOTSTRAP_S) * 1000),
            "request_timeout_ms": self.timeout_ms,
            # Half a minute, the driver's own limit, is all the time that catching up after an outage may take.
            "reconnect_backoff_max_ms": 1000,
        }
        if self.user:
            configs |= {"sasl_mechanism": self.mechanism}
            configs |= {"sasl_plain_username": self.user, "sasl_plain_password": self.password}
        files = {"ssl_cafile": self.ca, "ssl_certfile": self.cert, "ssl_keyfile": self.key}
        return configs | {name: path for name, path in files.items() if path}


_NUMBERS: Mapping[str, Callable[[str], Any]] = {
    "partitions": int,
    "replication": int,
    "retention_hours": float,
    "timeout_s": float,
    "session_s": float,
    "hold_s": float,
}
_TEXTS = ("mechanism", "ca", "cert", "key", "prefix")


def settings_of(url: str) -> KafkaSettings:
    """The settings in `kafka[+ssl]://[user:password@]host:port[,host:port]?option=value&...`.

    Options: `partitions` of each topic (made by `migrate`, checked after; 12 where nothing is said), `replication` and
    `retention_hours` of new topics (the broker's own where nothing is said), `prefix` of topics and groups,
    `mechanism`, `ca`, `cert` and `key` (files), `timeout_s` of each call, `session_s` after which a silent member has
    lost its partitions, `hold_s` for which a batch at work may keep a partition from its next owner.
    Raises ValueError for anything else.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    login, _, servers = place.rstrip("/").rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(query))
    known: dict[str, Any] = {}
    try:
        known |= {name: read(options.pop(name)) for name, read in _NUMBERS.items() if name in options}
    except ValueError as error:
        raise ValueError(f"bus URL {without_secret(url)}: {error}") from None
    known |= {name: options.pop(name) for name in _TEXTS if name in options}
    if options or not servers or "/" in servers or scheme not in SCHEMES:
        wanted = f"{scheme}://[user:password@]host:port[,...][?{'=&'.join((*_NUMBERS, *_TEXTS))}=]"
        raise ValueError(f"bus URL {without_secret(url)}: expected {wanted}")
    if known.get("mechanism", "PLAIN") not in MECHANISMS:
        raise ValueError(f"mechanism={known['mechanism']}: valid: {', '.join(MECHANISMS)}")
    if not SCHEMES[scheme] and (idle := [name for name in ("ca", "cert", "key") if name in known]):
        raise ValueError(f"bus URL {without_secret(url)}: {idle[0]} needs kafka+ssl://")
    for given, absent in (("cert", "key"), ("key", "cert")):
        if known.get(given) and not known.get(absent):
            raise ValueError(f"bus URL {without_secret(url)}: {given} needs {absent}")
    return KafkaSettings(
        servers=tuple(servers.split(",")),
        secure=SCHEMES[scheme],
        user=unquote(user),
        password=unquote(password),
        **known,
    )


class CannotConnect(Exception):
    """No broker took us. `spoke`: one answered the first question, which needs no password."""

    def __init__(self, spoke: bool, reason: object) -> None:
        super().__init__(f"no broker took the connection: {reason}")
        self.spoke = spoke


def connect(kind: Callable[..., Any], configs: Mapping[str, Any]) -> Any:
    """A client of class `kind`; blocks for at most its bootstrap timeout. Raises `CannotConnect`.

    The driver's constructors leave their thread and sockets running when they fail, so those are closed here.
    """
    made: list[Any] = []

    def net(**settings: Any) -> Any:
        made.append(KafkaNetClient(**settings))
        return made[0]

    try:
        return kind(**configs, kafka_client=net)
    except KafkaError as error:
        spoke = bool(made) and made[0]._manager.broker_version is not None
        for client in made:
            with contextlib.suppress(Exception):
                client.close()
        raise CannotConnect(spoke, error) from error


def as_unavailable(error: BaseException, doing: str) -> AppError:
    """What a caller is told when the driver fails; the driver's words go to the log."""
    log(__name__).warning("kafka failed", doing=doing, error=f"{type(error).__name__}: {error}"[:500])
    result = unavailable("The event bus can't be used now.")
    result.__cause__ = error
    return result
