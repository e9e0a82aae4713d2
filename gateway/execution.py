"""Operations, from text to answers. Every transport comes through here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLError, OperationType
from prometheus_client import Histogram
from strawberry.extensions import SchemaExtension

from gateway.answers import Answer, ErrorFormat
from gateway.context import Context
from gateway.documents import Document, Documents, Operation
from gateway.limits.shape import too_complex
from gateway.schema import Schema
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.server import within
from svc_kit.telemetry import log

ANSWERING_S = 1.0
"""Of an operation's time, what is kept for the answer."""
_log = log(__name__)
_SECONDS = Histogram("reelgraph_graphql_seconds", "Time to answer an operation", ["type", "field", "code"])


@dataclass(frozen=True, slots=True)
class Call:
    """What a client sent."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    operation_name: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation that may run."""

    call: Call
    document: Document
    operation: Operation
    cost: int


class Refused(Exception):
    """The operation can't run; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.code)
        self.answer = answer


class UsePrepared(SchemaExtension):
    """Gives Strawberry the document that was parsed and validated already."""

    def on_parse(self) -> Iterator[None]:
        """Instead of parsing."""
        self.execution_context.graphql_document = self.execution_context.context.document
        yield

    def on_validate(self) -> Iterator[None]:
        """Instead of validating."""
        self.execution_context.pre_execution_errors = []
        yield


class Executor:
    """Prepares and runs operations under the limits."""

    def __init__(
        self, schema: Schema, documents: Documents, errors: ErrorFormat, *, max_cost: int, timeout_s: float
    ) -> None:
        self._schema = schema
        self._documents = documents
        self.errors = errors
        self._max_cost = max_cost
        self._timeout_s = timeout_s

    def prepare(self, call: Call) -> Prepared:
        """The operation of a call; raises `Refused` when it is malformed or goes beyond a limit."""
        try:
            document = self._documents.get(call.query)
        except GraphQLError as error:
            raise Refused(self.errors.invalid([error])) from None
        if document.errors:
            raise Refused(self.errors.invalid(document.errors))
        operation = self._choose(document, call.operation_name)
        cost = operation.plan.cost(call.variables)
        if cost > self._max_cost:
            dear = too_complex(f"The operation costs {cost}; the limit is {self._max_cost}.")
            answer = self.errors.invalid([dear])
            answer.extensions = self._extensions(cost)
            raise Refused(answer)
        return Prepared(call, document, operation, cost)

    def _choose(self, document: Document, name: str | None) -> Operation:
        found = [o for o in document.operations if name is None or o.name == name]
        if len(found) == 1:
            return found[0]
        if name is None and found:
            message = "operationName must say which of the operations to run."
        else:
            message = f"There is no operation {name!r}." if name else "There is no operation in the document."
        raise Refused(self.errors.invalid([GraphQLError(message)]))

    def _enter(self, prepared: Prepared, context: Context) -> None:
        context.document = prepared.document.ast
        context.selected = prepared.operation.selected

    def _extensions(self, cost: int) -> dict[str, Any]:
        return {"cost": {"requested": cost, "limit": self._max_cost}}

    async def run(self, prepared: Prepared, context: Context) -> Answer:
        """The answer of a query or mutation, within the time limit."""
        started = time.monotonic()
        self._enter(prepared, context)
        try:
            # A service that hangs costs its own fields: when calls are given up, there is time left for an answer.
            calls_s = max(self._timeout_s / 2, self._timeout_s - ANSWERING_S)
            async with asyncio.timeout(self._timeout_s):
                with within(calls_s):
                    result = await self._schema.execute(
                        prepared.call.query,
                        variable_values=prepared.call.variables,
                        context_value=context,
                        operation_name=prepared.operation.name,
                        allowed_operation_types=None,
                    )
            answer = self.errors.result(result.data, result.errors)
        except TimeoutError:
            answer = self.errors.refusal(AppError(Reason.DEADLINE_EXCEEDED, "It took too long."))
        answer.extensions = self._extensions(prepared.cost)
        self._observe(prepared.operation, answer, time.monotonic() - started)
        return answer

    async def events(self, prepared: Prepared, context: Context) -> AsyncGenerator[Answer, None]:
        """The answers of a subscription, until it ends; of a query or mutation its one answer. The last one has
        `refused` set when the whole operation failed."""
        if prepared.operation.type is not OperationType.SUBSCRIPTION:
            yield await self.run(prepared, context)
            return
        self._enter(prepared, context)
        stream: Any = await self._schema.stream(
            prepared.call.query,
            variable_values=prepared.call.variables,
            context_value=context,
            operation_name=prepared.operation.name,
        )
        async with aclosing(stream):
            async for result in stream:
                yield self.errors.result(result.data, result.errors)

    def _observe(self, operation: Operation, answer: Answer, seconds: float) -> None:
        # The first field names an operation well enough; clients' own names would be without bound.
        first = operation.root_fields[0] if operation.root_fields else ""
        code = answer.code or "OK"
        _SECONDS.labels(operation.type.value, first, code).observe(seconds)
        _log.info("operation", type=operation.type.value, field=first, code=code, ms=round(seconds * 1000, 1))


def variables_of(value: object) -> dict[str, Any] | None:
    """The variables of a request: a map, or nothing; None when it is something else."""
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else None
