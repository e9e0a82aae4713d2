"""Answers as they go out: errors with their codes, and nothing that a client must not see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import GraphQLError

from gateway.errors import field_path, words
from svc_kit.errors import AppError, Reason
from svc_kit.telemetry import current_request_id, log

VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
_SUGGESTION = re.compile(r"\s*Did you mean [^?]*\?")
_log = log(__name__)


@dataclass(slots=True)
class Answer:
    """One result of an operation."""

    data: dict[str, Any] | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    extensions: dict[str, Any] = field(default_factory=dict)
    refused: bool = False
    """It was refused before it ran: there is no `data`."""
    _encoded: bytes = b""

    @property
    def code(self) -> str:
        """The first error's code; empty without errors."""
        return str(self.errors[0]["extensions"]["code"]) if self.errors else ""

    @property
    def encoded(self) -> bytes:
        """The body in JSON; encoded once, however many hear it."""
        if not self._encoded:
            self._encoded = encode(self.body())
        return self._encoded

    def body(self) -> dict[str, Any]:
        """The response map of the GraphQL specification."""
        body: dict[str, Any] = {"errors": self.errors} if self.errors else {}
        if not self.refused or self.code == Reason.UNAUTHENTICATED:
            body["data"] = self.data
        if self.extensions:
            body["extensions"] = self.extensions
        return body


def encode(body: object) -> bytes:
    """JSON; integers beyond 64 bits and such never occur in it."""
    return orjson.dumps(body)


class ErrorFormat:
    """Turns errors into entries of `errors`. Unexpected ones are logged and masked."""

    def __init__(self, *, suggestions: bool) -> None:
        self._suggestions = suggestions

    def refusal(self, error: AppError) -> Answer:
        """The answer to an operation that is refused as a whole."""
        return Answer(errors=[self._app_error(error)], refused=True)

    def invalid(self, errors: Sequence[GraphQLError]) -> Answer:
        """The answer to a document that can't be run."""
        return Answer(errors=[self._document_error(error) for error in errors], refused=True)

    def result(self, data: dict[str, Any] | None, errors: Sequence[GraphQLError] | None) -> Answer:
        """The answer of an operation that ran."""
        formatted = [self._format(error) for error in errors or ()]
        # Without data, an error that has no path came before the first resolver: variables that don't fit.
        refused = data is None and bool(errors) and all(error.path is None for error in errors or ())
        return Answer(data, formatted, refused=refused)

    def _format(self, error: GraphQLError) -> dict[str, Any]:
        cause = _cause(error)
        if isinstance(cause, AppError):
            entry = self._app_error(cause)
        elif isinstance(cause, TimeoutError):
            entry = self._app_error(AppError(Reason.DEADLINE_EXCEEDED, "It took too long."))
        elif cause is None and error.path is None:
            entry = self._document_error(error, Reason.BAD_USER_INPUT)
        else:
            _log.error("a resolver failed", path=error.path, exc_info=cause or error)
            entry = self._app_error(AppError(Reason.INTERNAL, "Something went wrong on our side."))
        if error.locations:
            entry["locations"] = [location.formatted for location in error.locations]
        if error.path is not None:
            entry["path"] = error.path
        return entry

    def _document_error(self, error: GraphQLError, code: str = VALIDATION_FAILED) -> dict[str, Any]:
        message = error.message if self._suggestions else _SUGGESTION.sub("", error.message)
        found = (error.extensions or {}).get("code", code)
        entry: dict[str, Any] = {"message": message, "extensions": _extensions(str(found))}
        if error.locations:
            entry["locations"] = [location.formatted for location in error.locations]
        return entry

    def _app_error(self, error: AppError) -> dict[str, Any]:
        extensions = _extensions(error.reason.value)
        if error.retry_after_ms is not None:
            extensions["retryAfterMs"] = error.retry_after_ms
        message = error.message
        for violation in error.violations:
            message = words(message, violation.field)
        if error.violations and error.violations[0].field:
            extensions["field"] = field_path(error.violations[0].field)
        return {"message": message, "extensions": extensions}


def _extensions(code: str) -> dict[str, Any]:
    return {"code": code, "requestId": current_request_id()}


def _cause(error: GraphQLError) -> BaseException | None:
    """What was raised at the bottom; None when it is GraphQL's own error."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
