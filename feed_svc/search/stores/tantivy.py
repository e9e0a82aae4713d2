"""The embedded search index: `tantivy:///folder` or `file:///folder`.

The folder holds generations, each an index, and `current`, the name of the one in use. A rebuild fills a new generation
and makes it `current` by a rename.

Any number of processes may share the folder. All read, and see a commit with their next search. One writes at a time,
by the lock of the generation, which ends with its process; whoever wrote gives it back when it has nothing more to
write, and after a while in any case. A rebuild keeps it until the new generation is in place, so that nothing is
written past it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import anyio.to_thread
from anyio import CapacityLimiter

from feed_svc.search.store import Change, Held, Hit, IndexWriter, Key, Kind, Turn
from feed_svc.search.stores.tantivy_generation import Generation
from feed_svc.search.stores.tantivy_query import SCHEMA_VERSION
from feed_svc.search.writes import SharedWrites
from svc_kit.errors import unavailable

T = TypeVar("T")

READ_THREADS = 2
IDLE_S = 0.5
"""Without a write for so long, the lock is given back: taking it again costs half a commit."""
MOST_HELD_S = 2.0
ATTEMPTS = 3


async def open(url: str, turn: Turn | None = None) -> TantivyIndex:
    """The index in the folder of `url`; an empty one where there is none. It needs no `turn`: it has a lock."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.netloc + parts.path))
    return await anyio.to_thread.run_sync(TantivyIndex, folder)


class TantivyIndex:
    """`SearchIndex` on tantivy. Writes share commits, for a commit costs 40 to 90 ms."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._readers = CapacityLimiter(READ_THREADS)
        self._writers = CapacityLimiter(1)
        self._writes = SharedWrites(self._apply)
        self._fresh: Generation | None = None
        self._switching = threading.Lock()
        self._live = self._open_current()
        self._wrote_at = self._held_from = 0.0
        self._giving_back: asyncio.Task[None] | None = None

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
            for attempt in range(ATTEMPTS):
                with suppress(OSError, ValueError):
                    return question(self._follow())
                if attempt == ATTEMPTS - 1:
                    break
            return question(self._follow())

        try:
            return await anyio.to_thread.run_sync(ask, limiter=self._readers)
        except (OSError, ValueError) as error:
            raise unavailable("The search index can't be read.") from error

    def _follow(self) -> Generation:
        """The generation in use: another process may have put a new one in place."""
        with self._switching:
            if self._current_name() != self._live.folder.name:
                self._live = self._open_current()
            return self._live

    # ---- Writing ------------------------------------------------------------------------------------------------

    async def write(self, changes: Sequence[Change]) -> None:
        await self._writes.write(changes)

    async def _apply(self, changes: Sequence[Change]) -> None:
        try:
            await self._on_writer(partial(self._write_live, changes))
            if self._fresh is not None:
                await self._on_writer(partial(self._fresh.write, changes))
        finally:
            self._give_back_soon()

    def _write_live(self, changes: Sequence[Change]) -> None:
        self._held_live().write(changes)

    def _held_live(self) -> Generation:
        """The generation in use, its lock taken."""
        for _ in range(ATTEMPTS):
            with suppress(OSError, ValueError):  # Replaced and removed meanwhile.
                live = self._follow()
                live.hold()
                if self._current_name() == live.folder.name:
                    return live
                live.close()
        raise unavailable("The search index can't be written.")

    def _give_back_soon(self) -> None:
        """Have the lock given back when nothing is written any more, or others have waited long enough."""
        now = asyncio.get_running_loop().time()
        self._wrote_at = now
        if self._giving_back is None or self._giving_back.done():
            self._held_from = now
            self._giving_back = asyncio.create_task(self._give_back())

    async def _give_back(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = min(self._wrote_at + IDLE_S, self._held_from + MOST_HELD_S)
            await asyncio.sleep(max(due - loop.time(), 0.01))
            if self._fresh is None and loop.time() >= due:
                async with self._writes.turn:
                    if self._fresh is None:
                        await self._on_writer(self._live.close)
                        return

    async def _on_writer(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._writers)

    # ---- Rebuilding ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator[IndexWriter]:
        async with self._writes.turn:
            if self._fresh is not None:
                raise unavailable("The search index is being rebuilt already.")
            fresh = self._fresh = await self._on_writer(self._begin_rebuild)
        try:
            yield _Filling(self, fresh)
            async with self._writes.turn:
                old = await self._on_writer(lambda: self._replace_by(fresh))
            # Searches that began on it are done in no time; what they still read stays open on their side.
            await self._on_writer(lambda: _drop(old))
            self._give_back_soon()
        except BaseException:
            self._fresh = None
            self._give_back_soon()
            if self._live is not fresh:
                with anyio.CancelScope(shield=True):
                    await self._on_writer(lambda: _drop(fresh))
            raise

    async def fill(self, generation: Generation, changes: Sequence[Change]) -> None:
        """Write to the generation of a rebuild alone."""
        async with self._writes.turn:
            await self._on_writer(partial(generation.write, changes))

    def _begin_rebuild(self) -> Generation:
        live = self._held_live()
        for left in self._folder.glob(f"v{SCHEMA_VERSION}-*"):
            if left.name != live.folder.name:  # Of a rebuild that was killed: no other can be under way.
                shutil.rmtree(left, ignore_errors=True)
        return Generation(self._folder / self._next_name())

    def _replace_by(self, fresh: Generation) -> Generation:
        with self._switching:
            old = self._live
            self._put_in_place(fresh)
            self._live, self._fresh = fresh, None
        return old

    def _put_in_place(self, generation: Generation) -> None:
        draft = self._folder / f"current.{uuid.uuid4().hex}"
        draft.write_text(generation.folder.name)
        os.replace(draft, self._folder / "current")

    def _open_current(self) -> Generation:
        name = self._current_name()
        if _schema_of(name) < SCHEMA_VERSION:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._making():
                name = self._current_name()
                if _schema_of(name) < SCHEMA_VERSION:
                    generation = Generation(self._folder / self._next_name())
                    self._put_in_place(generation)
                    return generation
        if _schema_of(name) > SCHEMA_VERSION:
            raise unavailable("The search index was made by a newer version of this program.")
        return Generation(self._folder / name, known=True)

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Processes that start together make one first generation."""
        with (self._folder / "making").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _current_name(self) -> str:
        try:
            return (self._folder / "current").read_text()
        except FileNotFoundError:
            return ""

    def _next_name(self) -> str:
        numbers = [int(path.name.rpartition("-")[2]) for path in self._folder.glob("v*-*") if path.is_dir()]
        return f"v{SCHEMA_VERSION}-{max(numbers, default=0) + 1:06d}"

    async def close(self) -> None:
        if self._giving_back is not None:
            self._giving_back.cancel()
        async with self._writes.turn:
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


def _schema_of(name: str) -> int:
    """The schema version in a generation's name; 0 for no name."""
    number = name.partition("-")[0].removeprefix("v")
    return int(number) if number.isdigit() else 0
