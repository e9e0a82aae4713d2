"""Serve the built web pages under a strict content policy, without a request to any other origin."""

from __future__ import annotations

import importlib.metadata
import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

PREFIX = "/explorer"
GRAPHQL_PATH = "/graphql"
IMMUTABLE = "public, max-age=31536000, immutable"
# The pages name hashed files, so they are asked for again each time and answered with 304.
REVALIDATE = "no-cache"

# An origin, or a path would let a setting's slip add a directive.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reelgraph: the explorer is not built</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 38rem; margin: 12vh auto; padding: 0 1rem }
code { background: #8883; border-radius: 4px; padding: .1em .4em }
</style></head><body>
<h1>The explorer is not built</h1>
<p>GraphiQL is built from npm packages once, then served from here without a network. In the repository:</p>
<p><code>make web</code></p>
<p>and reload this page. The API itself works: <code>POST /graphql</code> answers.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """An account of the demo world that the page offers at a click. Never given in production."""

    username: str
    password: str


def content_policy(media_origins: Sequence[str] = ()) -> str:
    """The Content-Security-Policy of every page.

    ``media_origins``: further origins (``https://media.example``) for posters, playlists and segments, where
    the media service has one of its own. Raises ``ValueError`` for what is not an origin.
    """
    for origin in media_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"media_origins: {origin!r} is not an origin such as https://media.example.org")
    media = "".join(f" {origin}" for origin in media_origins)
    directives = (
        "default-src 'self'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        f"img-src 'self' data: blob:{media}",
        f"connect-src 'self' ws: wss:{media}",
        f"media-src 'self' blob:{media}",
        "object-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    return "; ".join(directives)


def security_headers(media_origins: Sequence[str] = ()) -> dict[str, str]:
    """Headers for each answer of this module; the policy is as ``content_policy`` describes."""
    return {
        "Content-Security-Policy": content_policy(media_origins),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def locate_dist(setting: Path | None = None) -> Path | None:
    """The folder with the built pages: the setting, else the wheel's own, else the repository's ``web/dist``.

    Returns None where none of them is built. Raises ``ValueError`` when the setting names a folder without
    pages: a wrong setting must not be answered by other pages.
    """
    if setting is not None:
        if not (setting / "index.html").is_file():
            raise ValueError(f"explorer dist: {setting} has no index.html; build it with `make web`")
        return setting
    packaged = Path(__file__).parent / "dist"
    repository = Path(__file__).parents[2] / "web" / "dist"
    return next((place for place in (packaged, repository) if (place / "index.html").is_file()), None)


def explorer_page(dist: Path | None, *, media_origins: Sequence[str] = ()) -> Response:
    """The GraphiQL page, for ``GET /graphql`` with ``Accept: text/html``.

    Status 503 with a page that says how to build it, where there is none.
    """
    headers = {**security_headers(media_origins), "Vary": "Accept"}
    if dist is None or not (dist / "index.html").is_file():
        return HTMLResponse(_MISSING, status_code=503, headers={**headers, "Cache-Control": "no-store"})
    return FileResponse(dist / "index.html", headers={**headers, "Cache-Control": REVALIDATE})


def explorer_routes(
    dist: Path | None,
    demo_logins: Callable[[], Sequence[DemoLogin]],
    *,
    media_origins: Sequence[str] = (),
    version: str | None = None,
) -> list[BaseRoute]:
    """Routes for ``/explorer/...``: ``config.json``, ``player.html`` and the pages' files.

    ``demo_logins`` is asked with each request, so that accounts seeded after the start are offered too. It
    must return nothing in production. ``version`` is shown in the page; the default is the installed one.
    """
    headers = security_headers(media_origins)
    shown = version if version is not None else _installed_version()

    async def config(_request: Request) -> Response:
        logins = [asdict(login) for login in demo_logins()]
        body = {"demoLogins": logins, "version": shown}
        return JSONResponse(body, headers={**headers, "Cache-Control": "no-store"})

    async def home(_request: Request) -> Response:
        return RedirectResponse(GRAPHQL_PATH, headers=headers)

    async def missing(_request: Request) -> Response:
        return explorer_page(None, media_origins=media_origins)

    routes: list[BaseRoute] = [
        Route(f"{PREFIX}/config.json", config, name="explorer-config"),
        Route(PREFIX, home),
        Route(f"{PREFIX}/", home),
        Route(f"{PREFIX}/index.html", home),
    ]
    if dist is None:
        routes.append(Route(f"{PREFIX}/{{path:path}}", missing))
    else:
        routes.append(Mount(PREFIX, app=_Assets(dist, headers), name="explorer"))
    return routes


class _Assets(StaticFiles):
    """Static files with our headers; a ``.gz`` beside a file is sent to those who accept it."""

    def __init__(self, dist: Path, headers: Mapping[str, str]) -> None:
        super().__init__(directory=dist, check_dir=False)
        # A build replaces the folder, so its absence is a 404 for a moment and not a failure of the server.
        self.config_checked = True
        self._headers = headers

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await self._find(path, scope)
        hashed = path.startswith("assets/") and response.status_code in (200, 206, 304)
        response.headers.update(self._headers)
        response.headers["Cache-Control"] = IMMUTABLE if hashed else REVALIDATE
        response.headers["Vary"] = "Accept-Encoding"
        return response

    async def _find(self, path: str, scope: Scope) -> Response:
        # Dot files (the build's stamp) and the .gz files are no addresses of their own.
        if path.endswith(".gz") or any(part.startswith(".") for part in Path(path).parts):
            return PlainTextResponse("Not Found", status_code=404)
        try:
            response = await super().get_response(path, scope)
            return await self._compressed(path, scope, response)
        except HTTPException as error:
            return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)

    async def _compressed(self, path: str, scope: Scope, plain: Response) -> Response:
        """The packed form of what ``plain`` found; ``plain`` if there is none or it is not wanted."""
        if "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return plain
        packed, stat_result = await to_thread.run_sync(self.lookup_path, f"{path}.gz")
        if stat_result is None:
            return plain
        response = self.file_response(packed, stat_result, scope)
        if not isinstance(response, NotModifiedResponse):
            media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
            response.headers["Content-Type"] = _with_charset(media_type)
            response.headers["Content-Encoding"] = "gzip"
        return response


def _with_charset(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def _installed_version() -> str:
    try:
        return importlib.metadata.version("reelgraph")
    except importlib.metadata.PackageNotFoundError:
        return "development"
