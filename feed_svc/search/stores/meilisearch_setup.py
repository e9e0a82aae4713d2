"""Making, checking and removing indexes of Meilisearch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feed_svc.search.stores import meilisearch_documents as documents
from feed_svc.search.stores.meilisearch_documents import SCHEMA_VERSION
from feed_svc.search.stores.meilisearch_server import MeiliServer, Refused, parse
from svc_kit.backends import EngineUnusable
from svc_kit.errors import AppError

OLDEST = (1, 6)
"""Before, typos were found where they are switched off."""
SETTLE_S = 100.0
"""Other settings index every document again."""


def index_name(prefix: str) -> str:
    """What the index is called on the server."""
    return f"{prefix}search_v{SCHEMA_VERSION}"


async def furnish(server: MeiliServer, name: str) -> None:
    """Make an index, if there is none, and set it up, if it is set up otherwise. Raises Refused or UNAVAILABLE."""
    try:
        await server.get(f"indexes/{name}")
    except Refused as error:
        if error.code != "index_not_found":
            raise
        await _made(server, name)
    wanted = documents.settings(await server.version())
    if not documents.same_settings(await server.get(f"indexes/{name}/settings"), wanted):
        await server.done(await server.patch(f"indexes/{name}/settings", wanted), within_s=SETTLE_S)


async def _made(server: MeiliServer, name: str) -> None:
    try:
        await server.done(await server.post("indexes", {"uid": name, "primaryKey": "id"}), within_s=SETTLE_S)
    except Refused as error:
        if error.code != "index_already_exists":
            raise


async def remove(server: MeiliServer, name: str) -> None:
    """Remove an index; none there: nothing happens. Raises Refused or UNAVAILABLE."""
    try:
        await server.done(await server.delete(f"indexes/{name}"))
    except Refused as error:
        if error.code != "index_not_found":
            raise


async def migrate(url: str) -> str:
    """Make and set up the index; see `svc_kit.backends`."""
    options = parse(url)
    server, name = MeiliServer(options), index_name(options.index_prefix)
    with _usable(server):
        found = await _recent(server)
        await furnish(server, name)
        await _ours(server, name)
    return f"Meilisearch {found}, index {name}"


async def verify(url: str) -> str:
    """What is there; see `svc_kit.backends`."""
    options = parse(url)
    server, name = MeiliServer(options), index_name(options.index_prefix)
    with _usable(server):
        found = await _recent(server)
        try:
            await _ours(server, name)
            there = await server.get(f"indexes/{name}/settings")
        except Refused as error:
            if error.code != "index_not_found":
                raise
            raise EngineUnusable(f"there is no index {name}; run `reelgraph migrate`") from error
        if not documents.same_settings(there, documents.settings(await server.version())):
            raise EngineUnusable(f"index {name} is not set up as this version needs it; run `reelgraph migrate`")
    return f"Meilisearch {found}, index {name}"


async def _recent(server: MeiliServer) -> str:
    version = await server.version()
    found = ".".join(map(str, version))
    if version < OLDEST:
        raise EngineUnusable(f"Meilisearch {found} is too old; at least {'.'.join(map(str, OLDEST))} is needed")
    return found


async def _ours(server: MeiliServer, name: str) -> None:
    if (await server.get(f"indexes/{name}"))["primaryKey"] != "id":
        raise EngineUnusable(f"index {name} belongs to something else; choose another index_prefix")


@contextmanager
def _usable(server: MeiliServer) -> Iterator[None]:
    """Errors in words for an operator."""
    try:
        yield
    except AppError as error:
        raise EngineUnusable(f"can't be reached at {server.options.http}") from error
    except Refused as error:
        if error.status in (401, 403):
            raise EngineUnusable("the key is " + ("wrong" if server.options.key else "missing")) from error
        raise EngineUnusable(f"does not do what is asked: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, EngineUnusable):
            raise
        raise EngineUnusable("does not answer as Meilisearch does") from error
