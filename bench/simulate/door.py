"""The public API as a client meets it: GraphQL over HTTP, without a socket between."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette

URL = "http://simulation.invalid/graphql"
Json = dict[str, Any]


class Refused(RuntimeError):
    """The API answered with errors; a simulated person makes no mistakes, so it is a defect."""


class Door:
    """One HTTP client for everybody; who asks is in the token."""

    def __init__(self, app: Starlette) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), timeout=120)

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, document: str, variables: Mapping[str, Any] | None = None, token: str = "") -> Json:
        """`data` of an operation. Raises `Refused`."""
        headers = {"content-type": "application/json", "accept-language": "en", "x-client-device": "phone"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        body = orjson.dumps({"query": document, "variables": variables or {}})
        answer = orjson.loads((await self._http.post(URL, content=body, headers=headers)).content)
        if answer.get("errors"):
            raise Refused(str(answer["errors"]))
        data: Json = answer["data"]
        return data

    async def mutate(self, name: str, fields: str, token: str = "", /, **input_: Any) -> Json:
        """The payload of a mutation. Raises `Refused`."""
        kind = f"{name[0].upper()}{name[1:]}Input"
        document = f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ code message }} }} }}"
        payload: Json = (await self.ask(document, {"input": input_}, token))[name]
        if payload["userErrors"]:
            raise Refused(f"{name}: {payload['userErrors']}")
        return payload
