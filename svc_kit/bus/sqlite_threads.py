"""SQLite from asyncio: one writing and one reading connection, each on a thread of its own, with group commit.

Writes that arrive while one transaction runs share the next: a disk flush is paid once for all of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from svc_kit.errors import AppError, unavailable
from svc_kit.telemetry import log

T = TypeVar("T")

MAX_WAITING = 1024
MAX_IN_ONE = 256
BUSY_TIMEOUT_MS = 5000


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: asyncio.Future[Any]


class SqliteThreads:
    """Runs functions of a connection. sqlite3's errors become UNAVAILABLE; whatever else a function raises comes
    back."""

    def __init__(self, path: Path, *, flush: bool) -> None:
        self._path = path
        self._flush = flush
        self._flushing: bool | None = None
        self._write_thread = ThreadPoolExecutor(1, "bus-write")
        self._read_thread = ThreadPoolExecutor(1, "bus-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._waiting: list[_Job] = []
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._draining: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self, schema: str) -> None:
        """Connect, and run `schema` (idempotent statements)."""
        loop = asyncio.get_running_loop()
        self._writer = await loop.run_in_executor(self._write_thread, self._connect)
        await loop.run_in_executor(self._write_thread, self._writer.executescript, schema)
        self._reader = await loop.run_in_executor(self._read_thread, self._connect)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection, in one snapshot."""
        if self._closed:
            raise unavailable("The event bus is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, self._read, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        assert self._reader is not None
        try:
            self._reader.execute("BEGIN")
            try:
                return work(self._reader)
            finally:
                self._reader.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _translated(error) from error

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work` in a write transaction, maybe shared with others; returns after the commit.

        `durable`: flushed to the disk, when the file was opened so. When `work` raises, what it did is undone alone.
        A caller that is cancelled can't know whether its work was committed.
        """
        async with self._slots:
            if self._closed:
                raise unavailable("The event bus is closed.")
            job = _Job(work, durable, asyncio.get_running_loop().create_future())
            self._waiting.append(job)
            if self._draining is None:
                self._draining = asyncio.create_task(self._drain())
            result: T = await job.done
            return result

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                jobs, self._waiting = self._waiting[:MAX_IN_ONE], self._waiting[MAX_IN_ONE:]
                results = await loop.run_in_executor(self._write_thread, self._run, jobs)
                for job, result in zip(jobs, results, strict=True):
                    if job.done.done():
                        continue
                    if isinstance(result, BaseException):
                        job.done.set_exception(result)
                    else:
                        job.done.set_result(result)
        finally:
            self._draining = None

    def _run(self, jobs: list[_Job]) -> list[Any]:
        connection = self._writer
        assert connection is not None
        try:
            self._set_flushing(connection, self._flush and any(job.durable for job in jobs))
            connection.execute("BEGIN IMMEDIATE")
            try:
                results = [self._run_one(connection, job) for job in jobs]
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except Exception as error:
            return [_translated(error) if isinstance(error, sqlite3.Error) else error] * len(jobs)
        return results

    def _set_flushing(self, connection: sqlite3.Connection, flush: bool) -> None:
        if flush is not self._flushing:
            connection.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
            self._flushing = flush

    def _run_one(self, connection: sqlite3.Connection, job: _Job) -> Any:
        connection.execute("SAVEPOINT job")
        try:
            result = job.work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise  # SQLite rolled all of it back: no space, or an I/O error
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return _translated(error) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE job")
        return result

    async def close(self) -> None:
        """Finish what waits, and close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        while self._draining is not None:
            await asyncio.wait([self._draining])
        loop = asyncio.get_running_loop()
        for thread, connection in ((self._read_thread, self._reader), (self._write_thread, self._writer)):
            if connection is not None:
                await loop.run_in_executor(thread, connection.close)
            thread.shutdown(wait=False)


def _translated(error: sqlite3.Error) -> AppError:
    log(__name__).warning("bus database failed", error=str(error))
    result = unavailable("The event bus can't be used now.")
    result.__cause__ = error
    return result
