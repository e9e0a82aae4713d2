"""What the gateway serves beside GraphQL: keys, health, metrics and the page that a shared link leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import ids
from gateway.context import Context
from gateway.types.video import Video
from reelgraph.graph.v1 import accounts_pb2
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.errors import AppError
from svc_kit.readiness import Readiness

HEALTH_TIMEOUT_S = 1.0
KEYS_MAX_AGE_S = 60
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src * data:; frame-ancestors 'none'; base-uri 'none'"
_STYLE = (
    ":root{color-scheme:dark}body{margin:0;background:#111;color:#eee;font:16px/1.5 system-ui,sans-serif;"
    "display:grid;place-items:center;min-height:100vh;text-align:center}img{max-height:70vh;max-width:90vw;"
    "border-radius:12px}a{color:#fff;background:#e0245e;padding:.6em 1.4em;border-radius:2em;text-decoration:none}"
)


class Pages:
    """Routes beside `/graphql`."""

    def __init__(
        self,
        new_context: Callable[[Request, Caller], Context],
        dependencies: Mapping[str, grpc.aio.Channel],
        readiness: Readiness,
    ) -> None:
        self._new_context = new_context
        self._dependencies = dependencies
        self._readiness = readiness

    def routes(self) -> list[BaseRoute]:
        """Of this class."""
        return [
            Route("/.well-known/jwks.json", self.keys),
            Route("/healthz", self.alive),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Route("/w/{id}", self.shared),
        ]

    async def keys(self, request: Request) -> Response:
        """The public keys of access tokens, as a JWK set."""
        context = self._new_context(request, ANONYMOUS)
        try:
            answer: accounts_pb2.ListSigningKeysResponse = await context.rpc(
                context.clients.accounts.ListSigningKeys, accounts_pb2.ListSigningKeysRequest()
            )
        except AppError as error:
            return JSONResponse({"error": error.reason.value}, 503)
        headers = {"Cache-Control": f"public, max-age={KEYS_MAX_AGE_S}"}
        return Response(answer.jwks_json, headers=headers, media_type="application/json")

    async def alive(self, _request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def ready(self, _request: Request) -> Response:
        """Whether every service that the gateway calls answers, and what they stand on in this process."""
        names = list(self._dependencies)
        states = await asyncio.gather(*(_serving(self._dependencies[name]) for name in names))
        down = [name for name, serving in zip(names, states, strict=True) if not serving]
        return await self._readiness.answer(down)

    async def metrics(self, _request: Request) -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def shared(self, request: Request) -> Response:
        """Where a shared link leads: what anybody may see of a video, and a way to the player."""
        context = self._new_context(request, ANONYMOUS)
        context.selected = frozenset({"Video.playback"})
        number = ids.number_of(ids.Kind.VIDEO, request.path_params["id"])
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        try:
            video = await context.loaders.videos.load(number) if number else None
            author = await context.loaders.users.load(video.author_number) if video else None
        except AppError:
            return HTMLResponse(_page("Try again in a moment", ""), 503, {**headers, "Retry-After": "5"})
        if video is None or video.signed is None:
            return HTMLResponse(_page("This video is not available", ""), 404, headers)
        name = f"{author.display_name} (@{author.username})" if author else "Somebody"
        return HTMLResponse(_video_page(video, name, f"{context.public_url}/w/{video.id}"), headers=headers)


async def _serving(channel: grpc.aio.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _video_page(video: Video, author: str, url: str) -> str:
    assert video.signed is not None
    poster = video.signed.poster_url
    player = "/explorer/player.html?" + urlencode({"src": video.signed.hls_url, "poster": poster})
    title = f"{author} on Reelgraph"
    tags = {
        "og:type": "video.other",
        "og:title": title,
        "og:description": video.caption,
        "og:url": url,
        "og:image": poster,
        "og:image:width": str(video.width or ""),
        "og:image:height": str(video.height or ""),
        "twitter:card": "summary_large_image",
    }
    head = "".join(f'<meta property="{name}" content="{escape(value)}">' for name, value in tags.items() if value)
    body = (
        f'<p><a href="{escape(player)}"><img src="{escape(poster)}" alt="{escape(video.caption)}"></a></p>'
        f'<p>{escape(video.caption)}</p><p>{escape(author)}</p><p><a href="{escape(player)}">Watch</a></p>'
    )
    return _page(title, head, body)


def _page(title: str, head: str, body: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{head}<style>{_STYLE}</style></head>"
        f"<body><main>{body or f'<h1>{escape(title)}</h1>'}</main></body></html>"
    )
