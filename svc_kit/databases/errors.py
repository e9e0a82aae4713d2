"""What drivers raise, as errors of ours: conflicts that are worth another try at once, failures that pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from svc_kit.errors import AppError, Reason
from svc_kit.telemetry import log

ATTEMPTS = 4
LONGEST_WAIT_S = 0.02
_UNREACHABLE = "The database can't be reached or is too busy."
# Serialization failure and deadlock by SQLSTATE; deadlock and "record has changed" by MySQL's numbers.
_CONFLICTS: frozenset[object] = frozenset({"40001", "40P01", 1213, 1020})
# PostgreSQL: no connection, no resources, an operator's act, a system error.
_PASSING_CLASSES = frozenset({"08", "53", "57", "58"})
# No lock within its time; the server was made read-only, as while it hands over to another.
_PASSING: frozenset[object] = frozenset({"55P03", "25006", 1205, 1290, 1836})
# asyncpg's own: a plan that a migration made stale, and a connection whose end it met halfway through a statement.
_BROKEN_NAME = "InternalClientError"
_PASSING_NAMES = frozenset({"InvalidCachedStatementError", _BROKEN_NAME})
_log = log(__name__)
T = TypeVar("T")


class Conflicted(AppError):
    """The transaction met another one and was rolled back: run again, it will most likely pass."""

    def __init__(self) -> None:
        super().__init__(Reason.UNAVAILABLE, "Somebody else is changing the same thing; try again.", retry_after_ms=100)


class Unreachable(AppError):
    """The database did not answer, or can't now."""

    def __init__(self) -> None:
        super().__init__(Reason.UNAVAILABLE, _UNREACHABLE, retry_after_ms=1000)


class translated:
    """Driver errors become UNAVAILABLE when trying again may help; their text stays in the logs."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and (known := translate(error)) is not None:
            raise known from error


def translate(error: BaseException) -> AppError | None:
    """The error of ours for what SQLAlchemy raised; None when it is a defect, or ours already."""
    if isinstance(error, PoolTimeoutError):
        return unreachable(error)
    if not isinstance(error, DBAPIError):
        return None
    code = _code(error.orig)
    if code in _CONFLICTS:
        return Conflicted()
    passing = code in _PASSING or (isinstance(code, str) and code[:2] in _PASSING_CLASSES)
    if passing or error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError)):
        return unreachable(error.orig or error)
    return unreachable(error.orig or error) if type(error.orig).__name__ in _PASSING_NAMES else None


def unreachable(error: BaseException) -> Unreachable:
    """UNAVAILABLE, with the cause in the logs."""
    _log.warning("database failed", error=str(error) or type(error).__name__)
    return Unreachable()


def _code(error: BaseException | None) -> object:
    """MySQL's number or PostgreSQL's SQLSTATE."""
    number = error.args[0] if error is not None and error.args else None
    return number if isinstance(number, int) else getattr(error, "sqlstate", None)


def translate_network_errors(engine: AsyncEngine) -> None:
    """Make a statement that a broken or silent network ended raise UNAVAILABLE and close its connection: SQLAlchemy
    knows the errors of drivers alone."""

    def on_error(context: Any) -> AppError | None:
        if isinstance(context.original_exception, (OSError, TimeoutError)):
            context.is_disconnect = True
            return unreachable(context.original_exception)
        if type(context.original_exception).__name__ == _BROKEN_NAME:
            context.is_disconnect = True
        return None

    event.listen(engine.sync_engine, "handle_error", on_error, retval=True)


async def again_on_conflict(body: Callable[[], Awaitable[T]]) -> T:
    """Run `body` until it meets no other transaction, at most `ATTEMPTS` times; then its `Conflicted` goes on."""
    for attempt in range(1, ATTEMPTS):
        try:
            return await body()
        except Conflicted:
            # At random: those who met must not meet again.
            await asyncio.sleep(random.uniform(0, LONGEST_WAIT_S * attempt))
    return await body()
