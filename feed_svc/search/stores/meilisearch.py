"""Search by Meilisearch: `meilisearch://:KEY@host:port`, with TLS `meilisearch+https://`.

Options, with their defaults: `index_prefix=reelgraph_`, `timeout_ms=3000` of a request, `task_timeout_ms=30000` of the
work that a write gives the server.

Meilisearch writes unconditionally, so versions are compared here: a writer has the `Turn`, waits for what others left
in the server's queue, reads the documents that its changes touch, and writes those that differ. Removed documents stay
as tombstones, with nothing to be found by. A rebuild fills a second index and swaps the two; it has the turn all along.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import anyio

from feed_svc.search.entries import Entry, changed, renamed_authors, touched_keys
from feed_svc.search.store import Change, Held, Hit, IndexWriter, Key, Kind, Turn
from feed_svc.search.stores import meilisearch_documents as documents
from feed_svc.search.stores.meilisearch_documents import MOST_HITS, among
from feed_svc.search.stores.meilisearch_server import MeiliServer, Refused, parse
from feed_svc.search.stores.meilisearch_setup import furnish, index_name, migrate, remove, verify
from feed_svc.search.writes import SharedWrites
from svc_kit.errors import AppError, unavailable
from svc_kit.telemetry import log

__all__ = ["MeiliIndex", "migrate", "open", "verify"]

DOCUMENTS_AT_ONCE = 1000
MOST_VIDEOS_OF_AUTHOR = 20_000

_log = log(__name__)


async def open(url: str, turn: Turn | None = None) -> MeiliIndex:
    """The index of `url`, which `migrate` makes; nothing is asked of the server yet. Without a `turn` this process is
    the only one that writes. Raises EngineUnusable for a wrong URL."""
    options = parse(url)
    return MeiliIndex(MeiliServer(options), index_name(options.index_prefix), turn or nullcontext)


class MeiliIndex:
    """`SearchIndex` on Meilisearch. Writes share tasks: one takes some tens of milliseconds, however much it holds."""

    def __init__(
        self, server: MeiliServer, name: str, turn: Turn | Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        self._server = server
        self._name = name
        self._fresh_name = f"{name}_next"
        self._turn = turn
        self._writes = SharedWrites(self._apply)
        self._rebuilding = False

    # ---- Reading ------------------------------------------------------------------------------------------------

    async def search(self, query: str, kinds: Sequence[Kind], limit: int, offset: int = 0) -> Sequence[Hit]:
        wanted = min(offset + limit, MOST_HITS)
        asked = documents.all_words(query, kinds)
        if asked is None or wanted <= offset:
            return []
        whole = documents.whole_names(query, kinds)
        first = await self._ask([whole, asked] if whole else [asked], wanted)
        found = {documents.key_of(hit): None for answer in first for hit in answer}
        if len(found) < wanted and (fewer := documents.one_missing(query, kinds)):
            rest = documents.best_first(await self._ask(fewer, wanted))
            found |= {documents.key_of(hit): None for hit in rest if documents.key_of(hit) not in found}
        keys = list(found)[offset:wanted]
        return [Hit(key, 1 / place) for place, key in enumerate(keys, start=offset + 1)]

    async def _ask(self, questions: Sequence[Mapping[str, Any]], limit: int) -> list[list[Mapping[str, Any]]]:
        bodies = [documents.body_of(question, self._name, limit) for question in questions]
        with _readable():
            answer = await self._server.post("multi-search", {"queries": bodies})
        return [result["hits"] for result in answer["results"]]

    async def held(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        with _readable():
            entries = await self._entries(self._name, keys)
        return {key: Held(e.document.version, e.document.popularity) for key, e in entries.items() if not e.removed}

    async def count(self) -> int:
        with _readable():
            answer = await self._fetch(self._name, among("kind", sorted(Kind)), fields=["id"], limit=1)
        return int(answer["total"])

    async def check(self) -> None:
        await self._ask([documents.all_words("check", list(Kind)) or {}], 1)

    async def _entries(self, index: str, keys: Sequence[Key]) -> dict[Key, Entry]:
        found: dict[Key, Entry] = {}
        for start in range(0, len(keys), DOCUMENTS_AT_ONCE):
            ids = [documents.document_id(key) for key in keys[start : start + DOCUMENTS_AT_ONCE]]
            answer = await self._fetch(index, among("id", ids), fields=["body"], limit=len(ids))
            found |= _by_key(answer)
        return found

    async def _of_author(self, index: str, author_id: int) -> dict[Key, Entry]:
        found: dict[Key, Entry] = {}
        wanted = f"author = {documents.quoted(str(author_id))} AND kind = {documents.quoted(Kind.VIDEO)}"
        for start in range(0, MOST_VIDEOS_OF_AUTHOR, DOCUMENTS_AT_ONCE):
            answer = await self._fetch(index, wanted, fields=["body"], limit=DOCUMENTS_AT_ONCE, offset=start)
            found |= _by_key(answer)
            if len(answer["results"]) < DOCUMENTS_AT_ONCE:
                break
        return found

    async def _fetch(self, index: str, wanted: str, **more: Any) -> Any:
        return await self._server.post(f"indexes/{index}/documents/fetch", {"filter": wanted, **more})

    # ---- Writing ------------------------------------------------------------------------------------------------

    async def write(self, changes: Sequence[Change]) -> None:
        await self._writes.write(changes)

    async def _apply(self, changes: Sequence[Change]) -> None:
        async with self._turn():
            await self.fill(self._name, changes)
            if self._rebuilding:
                await self.fill(self._fresh_name, changes)

    async def fill(self, index: str, changes: Sequence[Change]) -> None:
        """Apply changes to one index. Only with the turn."""
        try:
            await self._server.quiet(index)
            held = await self._entries(index, touched_keys(changes))
            for author_id in renamed_authors(changes):
                held |= await self._of_author(index, author_id)
            news = [documents.document(entry) for entry in changed(held, changes).values()]
            path = f"indexes/{index}/documents?primaryKey=id"
            parts = [news[start : start + DOCUMENTS_AT_ONCE] for start in range(0, len(news), DOCUMENTS_AT_ONCE)]
            await self._server.done(*[await self._server.post(path, part) for part in parts])
        except Refused as error:
            _log.error("search index not written", index=index, error=str(error))
            raise unavailable("The search index can't be written.") from error

    # ---- Rebuilding ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator[IndexWriter]:
        if self._rebuilding:
            raise unavailable("The search index is being rebuilt already.")
        self._rebuilding = True
        try:
            async with self._turn():
                try:
                    async with self._writes.turn:
                        await remove(self._server, self._fresh_name)
                        await furnish(self._server, self._fresh_name)
                    yield _Filling(self, self._fresh_name)
                    async with self._writes.turn:
                        await self._swap()
                        self._rebuilding = False
                finally:
                    self._rebuilding = False
                    with anyio.CancelScope(shield=True):
                        await self._forget_fresh()
        finally:
            self._rebuilding = False

    async def _swap(self) -> None:
        try:
            task = await self._server.post("swap-indexes", [{"indexes": [self._name, self._fresh_name]}])
            await self._server.done(task)
        except Refused as error:
            _log.error("search indexes not swapped", error=str(error))
            raise unavailable("The search index can't be replaced.") from error

    async def _forget_fresh(self) -> None:
        """What is called so is the old index after a swap, and a half-filled one without."""
        try:
            await remove(self._server, self._fresh_name)
        except (AppError, Refused) as error:
            _log.warning("an index is left over until the next rebuild", index=self._fresh_name, error=str(error))

    @property
    def writes(self) -> SharedWrites:
        """For who must not be interrupted by a write."""
        return self._writes

    async def close(self) -> None:
        return None


class _Filling:
    """`IndexWriter` of the index that a rebuild fills."""

    def __init__(self, index: MeiliIndex, name: str) -> None:
        self._index = index
        self._name = name

    async def write(self, changes: Sequence[Change]) -> None:
        async with self._index.writes.turn:
            await self._index.fill(self._name, changes)


def _by_key(answer: Mapping[str, Any]) -> dict[Key, Entry]:
    entries = map(documents.entry_of, answer["results"])
    return {entry.document.key: entry for entry in entries}


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        _log.error("search index not read", error=str(error))
        raise unavailable("The search index can't be read.") from error
