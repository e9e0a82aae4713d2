"""Database URLs: what is ours in their query, and how services share one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

OURS = ("pool_size",)
MAX_POOL = 100


def query_of(url: str) -> dict[str, str]:
    """The query's parameters; of one that comes twice the last."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def with_query(url: str, query: Mapping[str, str]) -> str:
    """The URL with this query instead of its own."""
    pairs = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in query.items())
    # Not by urlunsplit: it drops the slashes of an empty host.
    return url.partition("?")[0] + (f"?{pairs}" if pairs else "")


def pool_size_of(url: str, default: int) -> int:
    """Connections a process and service, from `?pool_size=`. Raises ValueError naming the limits."""
    text = query_of(url).get("pool_size", str(default))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_POOL:
        raise ValueError(f"database URL: pool_size must be 1 to {MAX_POOL}, not {text}")
    return int(text)


def for_driver(url: str, defaults: Mapping[str, str]) -> str:
    """The URL without what is ours in its query, with defaults where it says nothing."""
    theirs = {name: value for name, value in query_of(url).items() if name not in OURS}
    return with_query(url, {**defaults, **theirs})


def database_of(url: str) -> str:
    """The name of the database; empty when there is none."""
    return unquote(urlsplit(url).path.lstrip("/"))


def with_database(url: str, name: str) -> str:
    """The URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name, safe='')}"))


def place_of(url: str) -> str:
    """Host and port, for messages."""
    return urlsplit(url).netloc.rpartition("@")[2] or "localhost"


def service_url(common: str, service: str) -> str:
    """Where `service` keeps its tables in the database that all services share: on PostgreSQL a schema of its name, on
    MySQL a database `<name>_<service>`, on SQLite a file `<stem>.<service><suffix>`.

    Raises ValueError when the URL names no database."""
    part_of = _PARTS.get(common.partition(":")[0])
    return common if part_of is None else part_of(common, service)


def _schema(common: str, service: str) -> str:
    query = query_of(common)
    given = query.get("search_path")
    return with_query(common, {**query, "search_path": f"{given}_{service}" if given else service})


def _database(common: str, service: str) -> str:
    if not (name := database_of(common)):
        raise ValueError("database URL mysql://: names no database")
    return with_database(common, f"{name}_{service}")


def _file(common: str, service: str) -> str:
    folder, _, name = common.partition("?")[0].rpartition("/")
    path = PurePosixPath(name)
    return with_query(f"{folder}/{path.stem}.{service}{path.suffix}", query_of(common))


_PARTS: Mapping[str, Callable[[str, str], str]] = {
    "postgresql": _schema,
    "postgres": _schema,
    "mysql": _database,
    "sqlite": _file,
}
