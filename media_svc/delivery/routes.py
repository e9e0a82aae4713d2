"""The HTTP side of playback.

/v/<token>/<name>/master.m3u8, and every playlist and segment below it (their URIs are relative)
/p/<token>/<name>/poster.jpg, still-1.jpg, ...
/a/<key>.jpg, for ever

What is public and no playlist may be answered by a redirection to the blob store instead of the bytes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from media_svc.blobs.store import BlobStat, BlobStore, NoSuchBlob
from media_svc.delivery.ranges import Span, Unsatisfiable, matches, parse_range
from media_svc.delivery.store import PlaybackDirectory
from media_svc.delivery.urls import UrlSigner
from media_svc.transcode.store import AVATAR_FILE, set_prefix
from svc_kit.errors import AppError
from svc_kit.telemetry import log

_log = log(__name__)

STREAM_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".mp4": "video/mp4", ".m4s": "video/iso.segment"}
PICTURE_TYPES = {".jpg": "image/jpeg"}
_PATH = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)?(\.[a-z0-9]+)")
_AVATAR = re.compile(r"([A-Za-z0-9_-]{16,32})\.jpg")
_FOR_EVER = "public, max-age=31536000, immutable"
_PLAYLIST_S = 3600
REDIRECT_S = 300
"""How long a redirection may be kept; the URL that it names lasts at least as long."""


class _Refused(Exception):
    status = HTTPStatus.NOT_FOUND
    message = "There is nothing here."


class _Expired(_Refused):
    status = HTTPStatus.FORBIDDEN
    message = "The URL has expired or is not one of ours."


class Delivery:
    """Answers GET and HEAD, whole or in part, with memory bounded by one block a request."""

    def __init__(
        self, signer: UrlSigner, directory: PlaybackDirectory, blobs: BlobStore, *, redirects: bool = False
    ) -> None:
        self._signer = signer
        self._directory = directory
        self._blobs = blobs
        self._redirects = redirects

    def routes(self, origins: tuple[str, ...]) -> list[BaseRoute]:
        """Its routes; pages of `origins` may read them, without credentials."""
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD"],
            allow_headers=["Range", "If-None-Match", "If-Range"],
            expose_headers=["ETag", "Content-Range", "Content-Length", "Accept-Ranges"],
            max_age=86400,
        )
        methods = ["GET", "HEAD", "OPTIONS"]
        return [
            Route("/v/{token}/{name}/{path:path}", self.stream, methods=methods, middleware=[cors]),
            Route("/p/{token}/{name}/{path:path}", self.picture, methods=methods, middleware=[cors]),
            Route("/a/{file}", self.avatar, methods=methods, middleware=[cors]),
        ]

    async def stream(self, request: Request) -> Response:
        """A playlist or segment."""
        return await self._signed(request, STREAM_TYPES)

    async def picture(self, request: Request) -> Response:
        """The poster or a still."""
        return await self._signed(request, PICTURE_TYPES)

    async def avatar(self, request: Request) -> Response:
        """A claimed avatar."""
        match = _AVATAR.fullmatch(request.path_params["file"])
        try:
            set_id = await self._directory.avatar_set(match[1]) if match else 0
            if not set_id:
                raise _Refused
            key = set_prefix(set_id) + AVATAR_FILE
            return await self._blob(request, key, "image/jpeg", _FOR_EVER, redirects=self._redirects)
        except (_Refused, AppError) as error:
            return _refusal(error)

    async def _signed(self, request: Request, types: Mapping[str, str]) -> Response:
        token, name, path = (request.path_params[key] for key in ("token", "name", "path"))
        try:
            left_s = self._signer.seconds_left(token, name)
            if not left_s:
                raise _Expired
            match = _PATH.fullmatch(path)
            media_type = types.get(match[1]) if match else None
            playable = await self._directory.playable(name) if media_type else None
            if playable is None or media_type is None:
                raise _Refused
            caching = _caching(path, left_s, is_public=playable.is_public)
            # URIs in a playlist are relative to where it came from; who may see it is asked here every time.
            redirects = self._redirects and playable.is_public and not path.endswith(".m3u8")
            key = set_prefix(playable.set_id) + path
            return await self._blob(request, key, media_type, caching, redirects=redirects)
        except (_Refused, AppError) as error:
            return _refusal(error)

    async def _blob(self, request: Request, key: str, media_type: str, caching: str, *, redirects: bool) -> Response:
        stat = await self._blobs.stat(key) if request.method != "OPTIONS" else None
        if stat is None:
            raise _Refused
        etag = f'"{stat.etag}"'
        headers = {
            "ETag": etag,
            "Cache-Control": caching,
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            # A player of another origin may embed it; whether a script may read it is for CORS to say.
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        try:
            span = _asked(request, stat, etag)
        except Unsatisfiable:
            headers["Content-Range"] = f"bytes */{stat.size_bytes}"
            return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
        elsewhere = await self._blobs.sign_read(key, media_type, REDIRECT_S) if redirects else ""
        if elsewhere and request.method != "HEAD":
            headers |= {"Location": elsewhere, "Cache-Control": f"public, max-age={REDIRECT_S}"}
            del headers["Accept-Ranges"]
            return Response(status_code=HTTPStatus.FOUND, headers=headers)
        return await self._content(request, stat, span, media_type, headers)

    async def _content(
        self, request: Request, stat: BlobStat, span: Span | None, media_type: str, headers: dict[str, str]
    ) -> Response:
        status = HTTPStatus.OK
        start, length = 0, stat.size_bytes
        if span is not None:
            status, start, length = HTTPStatus.PARTIAL_CONTENT, span.start, span.length
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{stat.size_bytes}"
        headers["Content-Length"] = str(length)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=media_type)
        chunks = self._blobs.read(stat.key, start, length)
        try:
            # Before the status is sent: a store that fails now is still a 503.
            first = await anext(chunks, b"")
        except NoSuchBlob:
            raise _Refused from None
        return StreamingResponse(_beginning(first, chunks), status_code=status, headers=headers, media_type=media_type)


async def _beginning(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _asked(request: Request, stat: BlobStat, etag: str) -> Span | None:
    header, condition = request.headers.get("range", ""), request.headers.get("if-range", "")
    if not header or (condition and not matches(condition, etag)):
        return None
    return parse_range(header, stat.size_bytes)


def _caching(path: str, left_s: int, *, is_public: bool) -> str:
    """What is not public is kept by nobody but its viewer, and no longer than its URL lasts."""
    if not is_public:
        return f"private, max-age={left_s}"
    if path.endswith(".m3u8"):
        return f"public, max-age={min(left_s, _PLAYLIST_S)}"
    return _FOR_EVER


def _refusal(error: _Refused | AppError) -> Response:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, AppError):
        _log.warning("blob not served", reason=error.reason.value)
        body = {"code": error.reason.value, "message": error.message}
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE, headers | {"Retry-After": "1"})
    return JSONResponse({"code": error.status.name, "message": error.message}, error.status, headers)
