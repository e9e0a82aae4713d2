"""The embedded search index: `tantivy:///folder` or `file:///folder`.

The folder holds generations, each an index, and `current`, the name of the one in use. A rebuild fills a new generation
and makes it `current` by a rename. One process writes; any number read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import anyio.to_thread
from anyio import CapacityLimiter

from feed_svc.search.store import Change, Held, Hit, IndexWriter, Key, Kind
from feed_svc.search.stores.tantivy_generation import Generation
from feed_svc.search.stores.tantivy_query import SCHEMA_VERSION
from svc_kit.errors import unavailable

T = TypeVar("T")

READ_THREADS = 2
MAX_WAITING_CHANGES = 20_000


async def open(url: str) -> TantivyIndex:
    """The index in the folder of `url`; an empty one where there is none."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.netloc + parts.path))
    return await anyio.to_thread.run_sync(TantivyIndex, folder)


class TantivyIndex:
    """`SearchIndex` on tantivy. Writes that wait for one another share a commit, for a commit costs 40 to 90 ms."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._readers = CapacityLimiter(READ_THREADS)
        self._writers = CapacityLimiter(1)
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[None]]] = []
        self._fresh: Generation | None = None
        self._live = self._open_current()

    # ---- Reading ------------------------------------------------------------------------------------------------

    async def search(self, query: str, kinds: Sequence[Kind], limit: int, offset: int = 0) -> Sequence[Hit]:
        return await self._read(lambda live: live.search(query, kinds, limit, offset))

    async def held(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        return await self._read(lambda live: live.held(keys))

    async def count(self) -> int:
        return await self._read(Generation.count)

    async def check(self) -> None:
        await self._read(lambda live: live.search("check", list(Kind), 1, 0))

    async def _read(self, question: Callable[[Generation], T]) -> T:
        def ask() -> T:
            # Another process may have put a new generation in place.
            if self._current_name() != self._live.folder.name:
                self._live = self._open_current()
            return question(self._live)

        try:
            return await anyio.to_thread.run_sync(ask, limiter=self._readers)
        except (OSError, ValueError) as error:
            raise unavailable("The search index can't be read.") from error

    # ---- Writing ------------------------------------------------------------------------------------------------

    async def write(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        if sum(len(some) for some, _ in self._waiting) + len(changes) > MAX_WAITING_CHANGES:
            raise unavailable("Too many changes wait for the search index.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, done))
        async with self._turn:
            if not done.done():
                await self._write_waiting()
        await done

    async def _write_waiting(self) -> None:
        """Whoever comes first writes for all who wait."""
        batch, self._waiting = self._waiting, []
        changes = [change for some, _ in batch for change in some]
        error: BaseException | None = unavailable("The search index was closed.")
        try:
            for generation in filter(None, (self._live, self._fresh)):
                await self._on_writer(partial(generation.write, changes))
            error = None
        except Exception as failure:
            error = failure
        finally:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error) if error else done.set_result(None)

    async def _on_writer(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._writers)

    # ---- Rebuilding ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator[IndexWriter]:
        if self._fresh is not None:
            raise unavailable("The search index is being rebuilt already.")
        fresh = self._fresh = await self._on_writer(lambda: Generation(self._folder / self._next_name()))
        try:
            yield _Filling(self, fresh)
            async with self._turn:
                old = self._live
                await self._on_writer(lambda: self._put_in_place(fresh))
                self._live, self._fresh = fresh, None
            # Searches that began on it are done in no time; what they still read stays open on their side.
            await self._on_writer(lambda: _drop(old))
        except BaseException:
            self._fresh = None
            if self._live is not fresh:
                with anyio.CancelScope(shield=True):
                    await self._on_writer(lambda: _drop(fresh))
            raise

    async def fill(self, generation: Generation, changes: Sequence[Change]) -> None:
        """Write to the generation of a rebuild alone."""
        async with self._turn:
            await self._on_writer(partial(generation.write, changes))

    def _put_in_place(self, generation: Generation) -> None:
        draft = self._folder / "current.new"
        draft.write_text(generation.folder.name)
        os.replace(draft, self._folder / "current")

    def _open_current(self) -> Generation:
        name = self._current_name()
        if not name.startswith(f"v{SCHEMA_VERSION}-"):
            name = self._next_name()
            generation = Generation(self._folder / name)
            self._put_in_place(generation)
            return generation
        return Generation(self._folder / name)

    def _current_name(self) -> str:
        try:
            return (self._folder / "current").read_text()
        except FileNotFoundError:
            return ""

    def _next_name(self) -> str:
        numbers = [int(path.name.rpartition("-")[2]) for path in self._folder.glob("v*-*") if path.is_dir()]
        return f"v{SCHEMA_VERSION}-{max(numbers, default=0) + 1:06d}"

    async def close(self) -> None:
        async with self._turn:
            await self._on_writer(self._live.close)


class _Filling:
    """`IndexWriter` of the generation that a rebuild fills."""

    def __init__(self, index: TantivyIndex, generation: Generation) -> None:
        self._index = index
        self._generation = generation

    async def write(self, changes: Sequence[Change]) -> None:
        await self._index.fill(self._generation, changes)


def _drop(generation: Generation) -> None:
    generation.close()
    shutil.rmtree(generation.folder, ignore_errors=True)
