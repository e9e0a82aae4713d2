"""What a Cassandra URL says:

`cassandra[+ssl]://USER:PASSWORD@HOST[:PORT][,HOST...]/KEYSPACE?OPTION=VALUE&...`

| option | meaning | default |
|---|---|---|
| `consistency` | of every read and write | `local_quorum` |
| `datacenter` | the local one; needed when there are several | that of the first node reached |
| `replication` | of a keyspace that `migrate` makes: `3`, or `dc1:3,dc2:3` | `3` |
| `timeout_ms` | of one request | 2000 |
| `in_flight` | requests at once, a process | 128 |
| `speculative_ms` | after so long a request goes to another node as well; 0: never | 250 |
| `ca_file`, `cert_file`, `key_file` | PEM files, with `cassandra+ssl` | the system's authorities, no certificate |
| `verify` | `identity`: the certificate must be valid and bear the node's IP address; `chain`: be valid | `identity` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from svc_kit.backends import EngineUnusable

PORT = 9042
SCHEMES = {"cassandra": False, "cassandra+ssl": True}
CONSISTENCIES = ("local_one", "one", "two", "three", "local_quorum", "quorum", "each_quorum", "all")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_TLS_OPTIONS = {"ca_file", "cert_file", "key_file", "verify"}
_OPTIONS = {"consistency", "datacenter", "replication", "timeout_ms", "in_flight", "speculative_ms", *_TLS_OPTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A keyspace and how to talk to it."""

    hosts: tuple[str, ...]
    port: int
    username: str
    password: str
    keyspace: str
    tls: bool
    consistency: str
    datacenter: str
    replication: str
    """As CQL: `{'class': ...}`."""
    timeout_s: float
    in_flight: int
    speculative_ms: int
    ca_file: str
    cert_file: str
    key_file: str
    verify: str


def parse(url: str) -> Address:
    """Raises `EngineUnusable` naming what is wrong."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    tls = SCHEMES.get(parts.scheme, False)
    if unknown := sorted(set(options) - _OPTIONS):
        raise EngineUnusable(f"unknown option {unknown[0]}; there are {', '.join(sorted(_OPTIONS))}")
    if not tls and (given := sorted(set(options) & _TLS_OPTIONS)):
        raise EngineUnusable(f"{given[0]} needs the scheme cassandra+ssl")
    keyspace = parts.path.strip("/")
    if not _NAME.fullmatch(keyspace):
        raise EngineUnusable(f"the path must name a keyspace of lower case letters, digits and _; it is {keyspace!r}")
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts, port = _hosts(places)
    return Address(
        hosts=hosts,
        port=port,
        username=unquote(username),
        password=unquote(password),
        keyspace=keyspace,
        tls=tls,
        consistency=_choice(options, "consistency", CONSISTENCIES, "local_quorum"),
        datacenter=options.get("datacenter", ""),
        replication=_replication(options.get("replication", "3")),
        timeout_s=_number(options, "timeout_ms", 2000, 10) / 1000,
        in_flight=_number(options, "in_flight", 128, 1),
        speculative_ms=_number(options, "speculative_ms", 250, 0),
        ca_file=options.get("ca_file", ""),
        cert_file=options.get("cert_file", ""),
        key_file=options.get("key_file", ""),
        verify=_choice(options, "verify", ("identity", "chain"), "identity"),
    )


def _hosts(places: str) -> tuple[tuple[str, ...], int]:
    hosts, ports = [], set()
    for place in places.split(","):
        host, _, port = place.rpartition(":") if re.search(r":\d+$", place) else (place, "", str(PORT))
        hosts.append(host.strip("[]"))
        ports.add(int(port))
    if not all(hosts):
        raise EngineUnusable("the URL names no host")
    if len(ports) > 1:
        raise EngineUnusable(f"all hosts must have one port; there are {', '.join(map(str, sorted(ports)))}")
    return tuple(hosts), ports.pop()


def _choice(options: Mapping[str, str], name: str, valid: tuple[str, ...], default: str) -> str:
    value = options.get(name, default).lower()
    if value not in valid:
        raise EngineUnusable(f"{name} must be one of {', '.join(valid)}; it is {value!r}")
    return value


def _number(options: Mapping[str, str], name: str, default: int, least: int) -> int:
    value = options.get(name, str(default))
    if not value.isdecimal() or int(value) < least:
        raise EngineUnusable(f"{name} must be a number of at least {least}; it is {value!r}")
    return int(value)


def _replication(value: str) -> str:
    if value.isdecimal() and int(value) > 0:
        return f"{{'class': 'SimpleStrategy', 'replication_factor': {value}}}"
    if not re.fullmatch(r"[\w-]+:[1-9]\d*(,[\w-]+:[1-9]\d*)*", value):
        raise EngineUnusable(f"replication must be like 3 or dc1:3,dc2:3; it is {value!r}")
    centres = ", ".join(f"'{name}': {count}" for name, count in (one.split(":") for one in value.split(",")))
    return f"{{'class': 'NetworkTopologyStrategy', {centres}}}"
