"""GraphQL over HTTP: from requests to calls."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from gateway.execution import Call, variables_of

BODY_TIMEOUT_S = 15.0


class BadRequest(Exception):
    """The request is not GraphQL over HTTP. `message` is for its author."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def read_call(request: Request, max_bytes: int) -> Call:
    """The call of a GET or POST request; raises `BadRequest`.

    Against forged requests from foreign pages: a POST must be `application/json`, which a page of another origin can
    only send after a preflight that the allow-list answers; a GET runs queries alone, which change nothing, and carries
    no ambient proof of identity, there being no cookies. So a plain GET needs no special header.
    """
    if request.method == "GET":
        return _call(_from_query(request))
    content_type = request.headers.get("content-type", "")
    media_type, _, parameters = content_type.lower().partition(";")
    if media_type.strip() != "application/json":
        raise BadRequest(415, f"Content-Type must be application/json; it is {content_type or 'absent'}.")
    if "charset" in parameters and "utf-8" not in parameters and "utf8" not in parameters:
        raise BadRequest(415, "The body must be UTF-8.")
    try:
        return _call(orjson.loads(await _body(request, max_bytes)))
    except orjson.JSONDecodeError:
        raise BadRequest(400, "The body must be JSON.") from None


async def _body(request: Request, max_bytes: int) -> bytes:
    too_large = BadRequest(413, f"The body must have at most {max_bytes} bytes.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise BadRequest(408, f"The body must arrive within {BODY_TIMEOUT_S:g} s.") from None
    except ClientDisconnect:
        raise BadRequest(400, "The client hung up.") from None
    return bytes(body)


def _from_query(request: Request) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if params.get(name):
            try:
                params[name] = orjson.loads(params[name])
            except orjson.JSONDecodeError:
                raise BadRequest(400, f"{name} must be JSON.") from None
        else:
            params.pop(name, None)
    return params


def _call(data: object) -> Call:
    if isinstance(data, list):
        raise BadRequest(400, "Batches are not supported: send one operation a request.")
    if not isinstance(data, dict):
        raise BadRequest(400, "The body must be a JSON object.")
    return call_of(data)


def call_of(data: dict[str, Any]) -> Call:
    """The call in the parameters of a request; raises `BadRequest` naming the one that is wrong."""
    query, name, variables = data.get("query"), data.get("operationName"), variables_of(data.get("variables"))
    if not isinstance(query, str) or not query.strip():
        raise BadRequest(400, "query must be a GraphQL document.")
    if name is not None and not isinstance(name, str):
        raise BadRequest(400, "operationName must be a string.")
    if variables is None:
        raise BadRequest(400, "variables must be an object.")
    if variables_of(data.get("extensions")) is None:
        raise BadRequest(400, "extensions must be an object.")
    return Call(query, variables, name or None)
