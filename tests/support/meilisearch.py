"""A Meilisearch in tests, real or not, with indexes of the test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from feed_svc.search.stores.meilisearch_server import MeiliServer, parse
from feed_svc.search.stores.meilisearch_setup import index_name, remove
from tests.support.engines import server_url

KEY_VARIABLE = "REELGRAPH_TEST_MEILISEARCH_KEY"


def meilisearch_url() -> str:
    """The address of a real one, as the product's setting has it; `http://host:port` and a key of its own will do.
    Skips the test where there is none."""
    parts = urlsplit(server_url("meilisearch"))
    scheme = {"http": "meilisearch", "https": "meilisearch+https"}.get(parts.scheme, parts.scheme)
    key = parts.password or quote(os.environ.get(KEY_VARIABLE, ""), safe="")
    port = parts.port or (443 if scheme.endswith("https") else 7700)
    return f"{scheme}://:{key}@{parts.hostname}:{port}{parts.path}"


@asynccontextmanager
async def own_indexes(url: str) -> AsyncIterator[str]:
    """The URL with a prefix that nobody else uses; what is made under it is removed."""
    prefix = f"test_{uuid.uuid4().hex}_"
    own = f"{url}?index_prefix={prefix}"
    yield own
    server = MeiliServer(parse(own))
    for name in (index_name(prefix), f"{index_name(prefix)}_next"):
        await remove(server, name)
