"""Writes that wait for one another share a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from feed_svc.search.store import Change
from svc_kit.errors import unavailable

MAX_WAITING_CHANGES = 20_000


class SharedWrites:
    """`IndexWriter.write` over `apply`, which takes the changes of all who wait, in order."""

    def __init__(self, apply: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._apply = apply
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[None]]] = []
        self.turn = asyncio.Lock()
        """Held while `apply` runs; to be held for anything that no write may come between."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Return when they are applied. Raises what `apply` raises, UNAVAILABLE when too many wait."""
        if not changes:
            return
        if sum(len(some) for some, _ in self._waiting) + len(changes) > MAX_WAITING_CHANGES:
            raise unavailable("Too many changes wait for the search index.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever was cancelled asks for it no more.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._waiting.append((changes, done))
        async with self.turn:
            if not done.done():
                await self._write_waiting()
        await done

    async def _write_waiting(self) -> None:
        """Whoever comes first writes for all who wait."""
        batch, self._waiting = self._waiting, []
        error: BaseException | None = unavailable("The search index was closed.")
        try:
            await self._apply([change for some, _ in batch for change in some])
            error = None
        except Exception as failure:
            error = failure
        finally:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error) if error else done.set_result(None)
