"""Which errors may go away by themselves, so that trying again later is right and giving up is wrong."""

from __future__ import annotations

import grpc
import redis.exceptions
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from svc_kit.errors import AppError, Reason

_REASONS = {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.RATE_LIMITED}
_CODES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
_KINDS = (
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    ConnectionError,
    TimeoutError,
)


def is_transient(error: BaseException) -> bool:
    """True for a dependency that is down, too busy or too slow."""
    if isinstance(error, AppError):
        return error.reason in _REASONS
    if isinstance(error, grpc.RpcError):
        code = getattr(error, "code", None)
        return callable(code) and code() in _CODES
    return isinstance(error, _KINDS)
