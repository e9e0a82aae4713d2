"""`/graphql` over HTTP: GraphQL over HTTP, graphql-sse in distinct connections, and the GraphiQL page."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import Answer
from gateway.context import Context
from gateway.execution import Prepared, Refused
from gateway.http.accept import EVENT_STREAM, GRAPHQL_JSON, HTML, JSON, preferred
from gateway.http.calls import BadRequest, read_call
from gateway.http.event_stream import COMPLETE, EventStream, Streaming, next_event
from gateway.http.origins import Origins
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason

PRIVATE = "private, no-store"
# Of refusals, for those who asked for application/graphql-response+json; with application/json they are 200.
_STATUS: dict[str, int] = {
    Reason.UNAUTHENTICATED: 401,
    Reason.RATE_LIMITED: 429,
    Reason.INTERNAL: 500,
    Reason.UNAVAILABLE: 503,
    Reason.DEADLINE_EXCEEDED: 504,
}


class GraphQLEndpoint:
    """One request at a time: negotiate, read, prove the caller, run."""

    def __init__(
        self,
        streaming: Streaming,
        new_context: Callable[[Request, Caller], Context],
        origins: Origins,
        admit: Callable[[Request], None],
        page: Callable[[], Response],
        *,
        max_body_bytes: int,
    ) -> None:
        self._streaming = streaming
        self._executor = streaming.executor
        self._sessions = streaming.sessions
        self._new_context = new_context
        self._origins = origins
        self._admit = admit
        self._page = page
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request) -> Response:
        """Answer a GET or POST."""
        offered: tuple[str, ...] = (JSON, GRAPHQL_JSON, EVENT_STREAM)
        if request.method == "GET":
            offered = (*offered, HTML)
        media_type = preferred(request.headers.get("accept"), offered)
        if media_type == HTML:
            return self._page()
        response = await self._answer(request, media_type)
        response.headers["Vary"] = "Accept, Origin, Authorization"
        if "cache-control" not in response.headers:
            logged_in = "authorization" in request.headers
            response.headers["Cache-Control"] = PRIVATE if logged_in else "no-cache"
        return response

    async def _answer(self, request: Request, media_type: str | None) -> Response:
        try:
            if media_type is None:
                raise BadRequest(406, f"Accept must allow one of {JSON}, {GRAPHQL_JSON}, {EVENT_STREAM}.")
            if not self._origins.allows(request.headers.get("origin")):
                raise BadRequest(403, "Pages of this origin may not call.")
            call = await read_call(request, self._max_body_bytes)
        except BadRequest as error:
            return self._bad_request(error, media_type)
        try:
            prepared = self._executor.prepare(call)
            if media_type != EVENT_STREAM:
                self._check_method(request, prepared)
            context = self._new_context(request, await self._caller(request, prepared))
        except BadRequest as error:
            return self._bad_request(error, media_type)
        except Refused as refused:
            return self._refused(refused.answer, media_type or JSON)
        except AppError as error:
            return self._refused(self._executor.errors.refusal(error), media_type or JSON)
        if media_type == EVENT_STREAM:
            return EventStream(self._streaming, prepared, context)
        response = _respond(await self._executor.run(prepared, context), media_type or JSON)
        if prepared.operation.type is OperationType.MUTATION:
            # logIn is answered to nobody in particular, with a viewer's tokens.
            response.headers["Cache-Control"] = PRIVATE
        return response

    def _check_method(self, request: Request, prepared: Prepared) -> None:
        kind = prepared.operation.type
        if request.method == "GET" and kind is not OperationType.QUERY:
            raise BadRequest(405, "GET runs queries only; use POST.")
        if kind is OperationType.SUBSCRIPTION:
            raise BadRequest(400, f"A subscription needs a WebSocket, or Accept: {EVENT_STREAM}.")

    async def _caller(self, request: Request, prepared: Prepared) -> Caller:
        if request.method == "GET" and prepared.operation.type is OperationType.MUTATION:
            raise BadRequest(405, "GET runs no mutations; use POST.")
        authorization = request.headers.get("authorization", "")
        if prepared.operation.ignores_token:
            authorization = ""
        caller = await self._sessions.authenticate(authorization)
        if not caller.user_id:
            self._admit(request)
        return caller

    def _refused(self, answer: Answer, media_type: str) -> Response:
        if media_type == EVENT_STREAM:
            return Response(next_event(answer) + COMPLETE, media_type=EVENT_STREAM)
        return _respond(answer, media_type)

    def _bad_request(self, error: BadRequest, media_type: str | None) -> Response:
        answer = self._executor.errors.refusal(AppError(Reason.BAD_USER_INPUT, error.message))
        headers = {"Allow": "POST"} if error.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        shown = GRAPHQL_JSON if media_type == GRAPHQL_JSON else JSON
        return Response(answer.encoded, error.status, headers, f"{shown}; charset=utf-8")


def _respond(answer: Answer, media_type: str) -> Response:
    status = 200
    if answer.refused:
        status = _STATUS.get(answer.code, 400)
        if media_type == JSON and status != HTTPStatus.TOO_MANY_REQUESTS:
            # Older clients read nothing but a 200.
            status = 200
    headers = {}
    if answer.errors and (wait_ms := answer.errors[0]["extensions"].get("retryAfterMs")) and status != HTTPStatus.OK:
        headers["Retry-After"] = str(-(-wait_ms // 1000))
    return Response(answer.encoded, status, headers, f"{media_type}; charset=utf-8")
