"""The URL of a bucket.

s3://ACCESS:SECRET@host:port/bucket?secure=false      a server of one's own; without ACCESS:SECRET the standard chain
s3://bucket?region=eu-central-1                       AWS, credentials by the standard chain (environment, role, ...)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from svc_kit.backends import EngineUnusable

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PLACE = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where a bucket is and how it is used; each option is a parameter of the URL's query."""

    bucket: str
    endpoint: str
    """`http://host:port`; empty: AWS."""
    access_key: str
    secret_key: str
    """Both empty: the standard chain of credentials."""
    region: str = ""
    """Empty: the standard chain; for a server of one's own `us-east-1`."""
    path_style: bool = False
    """`host/bucket/key` rather than `bucket.host/key`; true by default for a server of one's own."""
    prefix: str = ""
    """What every key begins with: empty, or ends with a slash."""
    public_endpoint: str = ""
    """`https://host` where clients reach the store, when that is elsewhere: signed URLs name it."""
    connections: int = 64
    """Most connections at a time."""
    storage_classes: Mapping[str, str] | None = None
    """First segment of a key -> storage class of what is put there: `storage_classes=archive:STANDARD_IA`."""
    warm_days: int = 30
    """Days after which `migrate` has originals moved to STANDARD_IA; 0: never."""
    cold_days: int = 0
    """The same to GLACIER_IR."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may put parts and read signed URLs."""

    @property
    def shown(self) -> str:
        """The bucket and its server, for an operator."""
        return f"{self.bucket} at {self.endpoint or 'AWS'}"

    def root(self, endpoint: str) -> str:
        """Where the bucket begins at `endpoint`, no slash at the end."""
        scheme, _, host = endpoint.partition("://")
        return f"{endpoint}/{self.bucket}" if self.path_style else f"{scheme}://{self.bucket}.{host}"


def parse_address(url: str) -> S3Address:
    """The address that `url` names. Raises `EngineUnusable` saying what is wrong with it."""
    parts = urlsplit(url)
    options = _Options(dict(parse_qsl(parts.query, keep_blank_values=True)))
    path = unquote(parts.path).strip("/")
    host = parts.netloc.rpartition("@")[2]
    bucket = path or host
    if not _BUCKET.fullmatch(bucket):
        raise EngineUnusable(f"{bucket!r} is no name of a bucket; s3://host:port/BUCKET or s3://BUCKET is expected")
    secure = options.flag("secure", default=True)
    address = S3Address(
        bucket=bucket,
        endpoint=f"{'https' if secure else 'http'}://{host}" if path else "",
        access_key=unquote(parts.username or ""),
        secret_key=unquote(parts.password or ""),
        region=options.text("region") or ("us-east-1" if path else ""),
        path_style=options.flag("path_style", default=bool(path) or "." in bucket),
        prefix=_prefix(options.text("prefix")),
        public_endpoint=options.place("public_endpoint"),
        connections=options.number("connections", 64, least=1),
        storage_classes=options.pairs("storage_classes"),
        warm_days=options.number("warm_days", 30),
        cold_days=options.number("cold_days", 0),
        cors_origins=tuple(options.text("cors_origins", "*").split(",")),
    )
    options.check()
    if bool(address.access_key) != bool(address.secret_key):
        raise EngineUnusable("the URL must have both the access key and the secret key, or neither")
    return address


class _Options:
    """The query, taken apart; what nobody took is an error."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given
        self._known: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self._known.add(name)
        return self._given.get(name, default)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value not in _FLAGS:
            raise EngineUnusable(f"option {name}={quote(value)}: true or false is expected")
        return _FLAGS[value]

    def number(self, name: str, default: int, least: int = 0) -> int:
        value = self.text(name, str(default))
        if not value.isdecimal():
            raise EngineUnusable(f"option {name}={quote(value)}: a whole number is expected")
        if int(value) < least:
            raise EngineUnusable(f"option {name}={quote(value)}: at least {least} is expected")
        return int(value)

    def place(self, name: str) -> str:
        value = self.text(name).rstrip("/")
        if value and not _PLACE.fullmatch(value):
            raise EngineUnusable(f"option {name}={quote(value)}: http://host or https://host is expected")
        return value

    def pairs(self, name: str) -> dict[str, str]:
        found = dict(item.partition(":")[::2] for item in self.text(name).split(",") if item)
        if not all(found.values()):
            raise EngineUnusable(f"option {name}: PREFIX:CLASS is expected, several with commas between")
        return found

    def check(self) -> None:
        unknown = sorted(set(self._given) - self._known)
        if unknown:
            raise EngineUnusable(f"unknown option {unknown[0]}; valid: {', '.join(sorted(self._known))}")


def _prefix(given: str) -> str:
    trimmed = given.strip("/")
    return f"{trimmed}/" if trimmed else ""
