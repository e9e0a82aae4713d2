"""Where clients put parts when the blob store has no signed URLs of its own.

A part streams from the socket to the disk: neither its size nor the number of clients at once fills the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from media_svc.blobs.part_tokens import PartGrant, PartTokens
from media_svc.blobs.store import BlobStore, NoSuchParts, WrongDigest, WrongLength
from media_svc.uploads.store import UploadState, UploadStore
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

_log = log(__name__)
RETRY_AFTER_S = 1
MOST_DRAINED_BYTES = 32 << 20
IDLE_S = 60.0
"""How long a client may send nothing: one that is gone without a goodbye must not keep its place for ever."""


class PartError(Exception):
    """A refusal, as the client gets it."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class PartReceiver:
    """`PUT /u/<token>/<number>`: 204 with an ETag once the part is safe, else `{code, message}`."""

    def __init__(
        self,
        tokens: PartTokens,
        store: UploadStore,
        blobs: BlobStore,
        clock: Clock,
        changed: Callable[[int], Awaitable[None]],
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._changed = changed

    def routes(self, origins: tuple[str, ...]) -> list[BaseRoute]:
        """Its routes; pages of `origins` may put parts."""
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["PUT"],
            allow_headers=["*"],
            expose_headers=["ETag", "Retry-After"],
            max_age=86400,
        )
        return [Route("/u/{token}/{number:int}", self.put, methods=["PUT", "OPTIONS"], middleware=[cors])]

    async def put(self, request: Request) -> Response:
        """Take one part."""
        try:
            digest = await self._receive(request)
        except PartError as error:
            stalled = error.status is HTTPStatus.REQUEST_TIMEOUT
            return _refusal(error, whole=not stalled and await _drained(request))
        except ClientDisconnect:
            # Nobody reads this answer; the log line of the server should still not say 500.
            return _refusal(PartError(HTTPStatus.BAD_REQUEST, "INCOMPLETE", "The client hung up half-way."))
        except AppError as error:
            _log.warning("part not stored", reason=error.reason.value, cause=str(error.__cause__ or error.message))
            failed = PartError(HTTPStatus.SERVICE_UNAVAILABLE, error.reason.value, error.message)
            return _refusal(failed, {"Retry-After": str(RETRY_AFTER_S)}, whole=await _drained(request))
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"ETag": f'"{digest}"', "Cache-Control": "no-store"})

    async def _receive(self, request: Request) -> str:
        grant = self._grant(request)
        _check_length(request, grant)
        upload = await self._store.upload_of_handle(grant.handle)
        if upload is None or upload.state is UploadState.ABORTED:
            raise PartError(HTTPStatus.GONE, "ABORTED", "The upload was given up.")
        if upload.state is not UploadState.RECEIVING:
            message = f"The upload is {upload.state} and takes no more parts."
            raise PartError(HTTPStatus.CONFLICT, "CONFLICT", message)
        try:
            digest = await self._blobs.put_part(
                grant.handle, grant.number, _arriving(request), grant.size_bytes, grant.sha256
            )
        except TimeoutError:
            message = f"No byte of the part came for {IDLE_S:g} s; send it again."
            raise PartError(HTTPStatus.REQUEST_TIMEOUT, "INCOMPLETE", message) from None
        except WrongLength as error:
            message = f"The part must have {error.expected} bytes; {error.received} came."
            raise PartError(HTTPStatus.BAD_REQUEST, "WRONG_SIZE", message) from None
        except WrongDigest as error:
            message = f"The part must have the SHA-256 {grant.sha256}; it has {error}."
            raise PartError(HTTPStatus.BAD_REQUEST, "WRONG_DIGEST", message) from None
        except NoSuchParts:
            raise PartError(HTTPStatus.GONE, "GONE", "The upload takes no more parts.") from None
        await self._changed(upload.id)
        return digest

    def _grant(self, request: Request) -> PartGrant:
        grant = self._tokens.open(request.path_params["token"])
        if grant is None or grant.number != request.path_params["number"]:
            raise PartError(HTTPStatus.FORBIDDEN, "FORBIDDEN", "The URL is not one of ours, or was changed.")
        if now_ms(self._clock) >= grant.expires_at_ms:
            raise PartError(HTTPStatus.FORBIDDEN, "EXPIRED", "The URL has expired; ask for the upload again.")
        return grant


def _check_length(request: Request, grant: PartGrant) -> None:
    """Refused before the first byte is read: a client that waits for `100 Continue` sends none."""
    announced = request.headers.get("content-length")
    if announced is None or not announced.isdecimal():
        raise PartError(HTTPStatus.LENGTH_REQUIRED, "LENGTH_REQUIRED", "Send the part with its Content-Length.")
    if int(announced) != grant.size_bytes:
        larger = int(announced) > grant.size_bytes
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if larger else HTTPStatus.BAD_REQUEST
        code = "TOO_LARGE" if larger else "WRONG_SIZE"
        raise PartError(status, code, f"The part must have {grant.size_bytes} bytes; {announced} were announced.")


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    """The body; raises TimeoutError when it stalls."""
    chunks = request.stream()
    while True:
        async with asyncio.timeout(IDLE_S):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


async def _drained(request: Request) -> bool:
    """Read what the client is sending anyway, up to a bound: most clients look for an answer only after their last
    byte, and a socket closed over unread bytes may lose the answer."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return False
    left = MOST_DRAINED_BYTES
    try:
        async for chunk in _arriving(request):
            left -= len(chunk)
            if left < 0:
                return False
    except (ClientDisconnect, RuntimeError, TimeoutError):  # gone, or read to its end before
        return False
    return True


def _refusal(error: PartError, headers: dict[str, str] | None = None, *, whole: bool = False) -> Response:
    """`whole`: the request was read to its end, so its connection can be used for another."""
    extra = {"Cache-Control": "no-store", **(headers or {}), **({} if whole else {"Connection": "close"})}
    return JSONResponse({"code": error.code, "message": error.message}, status_code=error.status, headers=extra)
