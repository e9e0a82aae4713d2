"""Errors that a client may see. Raised where they are known, mapped once by `svc_kit.rpc`.

`Reason` is `reelgraph.common.v1.ErrorReason`, `UserCode` is `UserErrorCode`, both without their prefix.
An error with a `user_code` was caused by input or state: GraphQL mutations answer it as `userErrors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Machine-readable reason; in GraphQL `extensions.code`."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


class UserCode(StrEnum):
    """What a person can do about it; in GraphQL `userErrors.code`."""

    REQUIRED = "REQUIRED"
    INVALID = "INVALID"
    TOO_SHORT = "TOO_SHORT"
    TOO_LONG = "TOO_LONG"
    TOO_LARGE = "TOO_LARGE"
    TAKEN = "TAKEN"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    CONFLICT = "CONFLICT"
    INCOMPLETE = "INCOMPLETE"
    INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
    KEY_REUSED = "KEY_REUSED"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field."""

    field: str
    """Path in the request message, dotted, in proto's snake_case: `watches.3.video_id`."""
    message: str
    """Names field, limit and value, for a person."""
    code: UserCode


RETRY_AFTER_MS = 1000
_PASSING = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


class AppError(Exception):
    """An error that a client may see. `message` is for a person and holds no secrets and no driver text.
    What may pass by itself says when to try again: after `retry_after_ms`, a second unless another time is given."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        user_code: UserCode | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.user_code = user_code or (self.violations[0].code if self.violations else None)
        if retry_after_ms is None and reason in _PASSING:
            retry_after_ms = RETRY_AFTER_MS
        self.retry_after_ms = retry_after_ms

    @property
    def is_lasting(self) -> bool:
        """Whether a dependency that works said so of this thing alone: waiting changes nothing, and is no outage."""
        return False


def invalid(field: str, message: str, code: UserCode = UserCode.INVALID) -> AppError:
    """A field is wrong."""
    return AppError(Reason.BAD_USER_INPUT, message, violations=[Violation(field, message, code)])


def invalid_all(violations: Sequence[Violation]) -> AppError:
    """Several fields are wrong."""
    return AppError(Reason.BAD_USER_INPUT, "; ".join(v.message for v in violations), violations=violations)


def not_found(field: str, what: str) -> AppError:
    """There is no such thing, or the caller may not see it. `what` is its kind: `video`."""
    message = f"There is no such {what}."
    return AppError(Reason.NOT_FOUND, message, violations=[Violation(field, message, UserCode.NOT_FOUND)])


def forbidden(field: str, message: str) -> AppError:
    """The caller may see it but not do this to it."""
    return AppError(Reason.FORBIDDEN, message, violations=[Violation(field, message, UserCode.FORBIDDEN)])


def conflict(field: str, message: str, code: UserCode = UserCode.CONFLICT) -> AppError:
    """The thing's state does not allow this."""
    return AppError(Reason.BAD_USER_INPUT, message, violations=[Violation(field, message, code)])


def unauthenticated(message: str = "Log in first.") -> AppError:
    """No token where one is needed, or a bad one."""
    return AppError(Reason.UNAUTHENTICATED, message)


def rate_limited(message: str, retry_after_ms: int) -> AppError:
    """Too many calls."""
    return AppError(Reason.RATE_LIMITED, message, retry_after_ms=retry_after_ms)


def unavailable(message: str, retry_after_ms: int = 1000) -> AppError:
    """A dependency is down or too busy."""
    return AppError(Reason.UNAVAILABLE, message, retry_after_ms=retry_after_ms)


def internal() -> AppError:
    """A defect of ours; the details are in the logs under the request id."""
    return AppError(Reason.INTERNAL, "Something went wrong on our side.")
