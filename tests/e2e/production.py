"""The real servers as the platform's engines, each with a place of this run's own."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kafka.errors import KafkaError

from svc_kit.backends import EngineUnusable
from svc_kit.bus.kafka_config import settings_of
from svc_kit.cache import open_cache
from tests.support.databases import fresh_database
from tests.support.engines import ADDRESSES
from tests.support.kafka import remove_topics
from tests.support.wide import drop_keyspaces

CACHE = "REELGRAPH_TEST_E2E_CACHE"
"""`redis` (default) or `redis-cluster`."""
DATABASE = "REELGRAPH_TEST_E2E_DATABASE"
"""`postgres` (default) or `mysql`."""


PREFIX = "reelgraph_e2e_"
"""Of what a run makes in an engine; its process's id follows."""


class NoServer(RuntimeError):
    """An engine has no address; `make servers` gives it one."""


def address(engine: str) -> str:
    """The URL of a real server. Raises `NoServer`."""
    url = os.environ.get(ADDRESSES[engine], "")
    if not url:
        raise NoServer(f"{ADDRESSES[engine]} names no server: run `make servers`, then source .servers/env")
    return url


def at_path(url: str, path: str, query: str = "") -> str:
    """The same server with another path, and more of a query."""
    parts = urlsplit(url)
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, path, joined, parts.fragment))


@asynccontextmanager
async def fresh_engines(database: str = "", cache: str = "") -> AsyncIterator[Mapping[str, str]]:
    """`REELGRAPH_..._URL` of every engine, as empty as a new installation's. The names choose other engines than the
    environment does."""
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    await _remove(_is_left_over)
    async with fresh_database(database or os.environ.get(DATABASE) or "postgres", Path()) as db_url:
        engines = {
            "REELGRAPH_DB_URL": db_url,
            "REELGRAPH_GRAPH_URL": await _emptied_graph(address("neo4j")),
            "REELGRAPH_CACHE_URL": await _emptied_cache(address(cache or os.environ.get(CACHE) or "redis")),
            "REELGRAPH_WIDE_URL": at_path(address("cassandra"), f"/{name}", "replication=1"),
            "REELGRAPH_BUS_URL": at_path(address("kafka"), "", f"prefix={name}."),
            "REELGRAPH_BLOBS_URL": at_path(address("s3"), f"/{name.replace('_', '-')}"),
            "REELGRAPH_MODELS_URL": address("triton"),
        }
        if search := os.environ.get(ADDRESSES["meilisearch"]):
            engines["REELGRAPH_SEARCH_URL"] = search
        try:
            yield engines
        finally:
            await _remove(lambda made: made.startswith(name))


async def _remove(chosen: Callable[[str], bool]) -> None:
    """What runs made in the engines where each is a burden for all that come after."""
    try:
        await asyncio.to_thread(remove_topics, settings_of(address("kafka")), chosen)
    except (EngineUnusable, KafkaError) as error:
        # Killed in the middle of a fault, perhaps: the next run finds what is left over.
        print(f"topics are not removed: {error}", file=sys.stderr)
    await drop_keyspaces(address("cassandra"), chosen)


def _is_left_over(name: str) -> bool:
    """Made by a run that is gone without having cleared up."""
    found = re.match(rf"{PREFIX}(\d+)_", name)
    return found is not None and not Path(f"/proc/{found[1]}").exists()


async def _emptied_graph(url: str) -> str:
    """Its Community edition has one database: what was in it goes."""
    from neo4j import AsyncGraphDatabase

    parts = urlsplit(url)
    bare = urlunsplit((parts.scheme, f"{parts.hostname}:{parts.port}", "", "", ""))
    async with AsyncGraphDatabase.driver(bare, auth=(parts.username or "", parts.password or "")) as driver:
        async with driver.session() as session:
            # Edges first: a famous account's, deleted with it, would not fit into one transaction.
            for deleted in ("()-[x]->()", "(x)"):
                query: Any = f"MATCH {deleted} CALL (x) {{ DELETE x }} IN TRANSACTIONS OF 5000 ROWS"
                await (await session.run(query)).consume()
    return url


async def _emptied_cache(url: str) -> str:
    cache = await open_cache(url)
    try:
        await cache.flushall()
    finally:
        await cache.aclose()
    return url
