"""A small client of the public API: GraphQL over HTTP, part uploads by signed URL. What the demo and the smoke test
use."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

PARALLEL_PARTS = 4
TRANSIENT = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RATE_LIMITED"}
Json = dict[str, Any]

SESSION = (
    "accessToken refreshToken accessExpiresAt session { id } user { id username } userErrors { field code message }"
)
UPLOAD = """id state sizeBytes partSizeBytes progressPercent failureCode failureReason
  parts { number url sizeBytes received headers { name value } }"""


class RequestFailed(Exception):
    """The answer has `errors`, or a mutation has `userErrors`."""

    def __init__(self, operation: str, errors: Sequence[Json]) -> None:
        super().__init__(f"{operation}: {'; '.join(str(e.get('message')) for e in errors)}")
        self.errors = errors
        self.codes = [e.get("code") or e.get("extensions", {}).get("code") for e in errors]


class ApiClient:
    """One client installation, logged in or not."""

    def __init__(
        self, url: str, *, client_id: str = "", language: str = "en", timeout_s: float = 30, retries: int = 0
    ) -> None:
        self.url = url
        self._retries = retries
        headers = {"accept": "application/json", "accept-language": language, "x-client-device": "phone"}
        if client_id:
            headers["x-client-id"] = client_id
        self.http = httpx.AsyncClient(headers=headers, timeout=timeout_s)
        self.token = ""
        self.user_id = ""

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def raw(self, query: str, variables: Mapping[str, Any] | None = None) -> Json:
        """The whole answer to an operation."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        response = await self.http.post(self.url, json={"query": query, "variables": variables or {}}, headers=headers)
        answer: Json = response.json()
        return answer

    async def query(self, query: str, variables: Mapping[str, Any] | None = None) -> Json:
        """`data` of an operation; raises `RequestFailed` on any error."""
        answer = await self.raw(query, variables)
        if answer.get("errors"):
            raise RequestFailed("query", answer["errors"])
        data: Json = answer["data"]
        return data

    async def mutate(self, name: str, fields: str, /, **input_: Any) -> Json:
        """The payload of mutation `name`; raises `RequestFailed` on errors and on user errors.

        What the server was too busy for is tried again under the same idempotency key, `retries` times.
        """
        if self._retries:
            input_.setdefault("idempotencyKey", secrets.token_hex(16))
        for attempt in range(self._retries + 1):
            try:
                return await self._mutate(name, fields, input_)
            except RequestFailed as error:
                if attempt == self._retries or not set(error.codes) <= TRANSIENT:
                    raise
                await asyncio.sleep(2**attempt * random.uniform(0.5, 1))
        raise AssertionError("the last attempt returns or raises")

    async def _mutate(self, name: str, fields: str, input_: Json) -> Json:
        type_ = f"{name[0].upper()}{name[1:]}Input"
        document = f"mutation ($input: {type_}!) {{ {name}(input: $input) {{ {_with_errors(fields)} }} }}"
        payload: Json = (await self.query(document, {"input": input_}))[name]
        if payload["userErrors"]:
            raise RequestFailed(name, payload["userErrors"])
        return payload

    async def sign_up(self, username: str, password: str, display_name: str = "") -> Json:
        """Sign up and stay logged in."""
        names = {"displayName": display_name} if display_name else {}
        return self.keep(
            await self.mutate("signUp", SESSION, username=username, password=password, device="demo", **names)
        )

    async def log_in(self, username: str, password: str) -> Json:
        """Log in and stay so."""
        return self.keep(await self.mutate("logIn", SESSION, username=username, password=password, device="demo"))

    def keep(self, payload: Json) -> Json:
        """Use the session of a payload from now on."""
        self.token, self.user_id = payload["accessToken"], payload["user"]["id"]
        return payload

    async def begin_upload(self, path: Path, content_type: str = "video/mp4", **more: Any) -> Json:
        """Begin (or resume) the upload of a file."""
        size, digest = await asyncio.to_thread(_measure, path)
        payload = await self.mutate(
            "beginUpload",
            f"upload {{ {UPLOAD} }}",
            fileName=path.name,
            contentType=content_type,
            sizeBytes=size,
            sha256=digest,
            **more,
        )
        upload: Json = payload["upload"]
        return upload

    async def put_parts(self, path: Path, upload: Json) -> None:
        """PUT every part that is not there yet, a few at once."""
        gate = asyncio.Semaphore(PARALLEL_PARTS)

        async def put(part: Json) -> None:
            async with gate:
                offset = (part["number"] - 1) * upload["partSizeBytes"]
                body = await asyncio.to_thread(_read, path, offset, part["sizeBytes"])
                headers = {h["name"]: h["value"] for h in part["headers"]}
                (await self.http.put(part["url"], content=body, headers=headers)).raise_for_status()

        await asyncio.gather(*(put(p) for p in upload["parts"] if not p["received"]))

    async def upload(self, path: Path, content_type: str = "video/mp4") -> Json:
        """Upload a file whole; answers the completed upload."""
        upload = await self.begin_upload(path, content_type)
        if upload["state"] != "RECEIVING":
            return upload
        await self.put_parts(path, upload)
        payload = await self.mutate("completeUpload", f"upload {{ {UPLOAD} }}", uploadId=upload["id"])
        completed: Json = payload["upload"]
        return completed

    async def wait_for_upload(self, upload_id: str, timeout_s: float = 120) -> Json:
        """The upload once it is READY, FAILED or ABORTED; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                upload: Json = (
                    await self.query(f"query ($id: ID!) {{ upload(id: $id) {{ {UPLOAD} }} }}", {"id": upload_id})
                )["upload"]
                if upload["state"] in ("READY", "FAILED", "ABORTED"):
                    return upload
                await asyncio.sleep(0.2)


def _with_errors(fields: str) -> str:
    return fields if "userErrors" in fields else f"{fields} userErrors {{ field code message }}"


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
