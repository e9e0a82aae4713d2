"""What adapters ask of Cassandra."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from svc_kit.breaker import Breaker
from svc_kit.errors import AppError, Reason, unavailable

Query = tuple[str, Sequence[Any]]
"""A statement with `?` in it, and the values for them, in order; None: no value."""

R = TypeVar("R")

WRITE_S = 30.0
"""Of a whole batch; each of its requests has the timeout of the URL."""


class BadPageState(ValueError):
    """The server does not know this paging state."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of the columns asked for."""

    rows: Sequence[tuple[Any, ...]]
    state: bytes
    """Continues after them, in the same query alone; empty when there is no more."""


class Rows(Protocol):
    """One keyspace. All raise UNAVAILABLE. What is written must be idempotent: it may arrive twice."""

    async def select(self, query: str, values: Sequence[Any], *, size: int = 0, state: bytes = b"") -> Page:
        """One page of at most `size` rows (0: all), from `state` on. Raises `BadPageState`."""
        ...

    async def select_each(self, queries: Iterable[Query], *, size: int = 0) -> list[Page]:
        """The first page of each, read side by side, in the order asked."""
        ...

    async def write(self, statements: Iterable[Query]) -> None:
        """All of them, in no order; durable on return. After an error some of them may be."""
        ...

    async def define(self, statement: str) -> None:
        """Run a statement that changes the schema, or empties a table."""
        ...


class GuardedRows:
    """`Rows` behind a breaker: a server that is gone costs a timeout, then nothing until it answers a single probe.

    A read ends within `timeout_s` for every `at_once` of its requests: the driver forgets its own timeout when it
    looks for a second node and there is none."""

    def __init__(self, inner: Rows, breaker: Breaker, *, timeout_s: float, at_once: int) -> None:
        self._inner = inner
        self._breaker = breaker
        self._timeout_s = timeout_s
        self._at_once = at_once

    async def select(self, query: str, values: Sequence[Any], *, size: int = 0, state: bytes = b"") -> Page:
        if not state:
            return await self._guard(lambda: self._inner.select(query, values, size=size), self._timeout_s)
        # A bad paging state is the caller's own fault, and an answer.
        found = await self._guard(
            lambda: _or_bad(self._inner.select(query, values, size=size, state=state)), self._timeout_s
        )
        if isinstance(found, BadPageState):
            raise found
        return found

    async def select_each(self, queries: Iterable[Query], *, size: int = 0) -> list[Page]:
        wanted = list(queries)
        deadline_s = self._timeout_s * (1 + len(wanted) // self._at_once)
        return await self._guard(lambda: self._inner.select_each(wanted, size=size), deadline_s)

    async def write(self, statements: Iterable[Query]) -> None:
        await self._guard(lambda: self._inner.write(statements), WRITE_S)

    async def define(self, statement: str) -> None:
        await self._guard(lambda: self._inner.define(statement), WRITE_S)

    async def _guard(self, body: Callable[[], Awaitable[R]], deadline_s: float) -> R:
        try:
            return await self._breaker.call(body, deadline_s=deadline_s)
        except AppError as error:
            if error.reason is Reason.DEADLINE_EXCEEDED:
                raise unreachable() from error
            raise


def unreachable() -> AppError:
    """What a client is told, whatever the driver said."""
    return unavailable("The store of histories can't be reached.")


async def _or_bad(body: Awaitable[Page]) -> Page | BadPageState:
    try:
        return await body
    except BadPageState as bad:
        return bad
