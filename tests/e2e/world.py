"""What the steps of the walk share: the instance, the people, the clips they made."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from launcher.demo.client import ApiClient, Json, RequestFailed
from launcher.demo.clips import render_clip
from media_svc.transcode.engine.tools import FfmpegTools
from tests.e2e.cluster import Cluster
from tests.e2e.instance import Instance

T = TypeVar("T")
PASSWORD = "correct horse battery"


@dataclass(slots=True)
class World:
    """State of one walk."""

    instance: Instance | Cluster
    folder: Path
    stack: AsyncExitStack
    tools: FfmpegTools
    people: dict[str, ApiClient] = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    """By a name that the steps give: the video's id."""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The GraphQL endpoint."""
        return self.instance.url

    async def client(self, name: str = "") -> ApiClient:
        """A client that is not logged in, with an installation id of its own."""
        return await self.stack.enter_async_context(ApiClient(self.url, client_id=name or secrets.token_hex(8)))

    async def person(self, name: str) -> ApiClient:
        """The logged-in client of `name`, signed up at first use."""
        if name not in self.people:
            client = await self.client(name)
            await client.sign_up(name, PASSWORD, name.capitalize())
            self.people[name] = client
        return self.people[name]

    async def clip(self, topic: str, seed: int, *, seconds: float = 2, width: int = 360, height: int = 640) -> Path:
        """A rendered clip file."""
        path = self.folder / f"{topic}-{seed}-{width}x{height}.mp4"
        if not path.exists():
            await render_clip(path, topic, seed, width, height, seconds, self.tools)
        return path

    async def publish(self, author: str, path: Path, caption: str, **fields: Any) -> str:
        """Upload and publish as `author`, wait until READY; the video's id."""
        client = await self.person(author)
        upload = await client.upload(path)
        payload = await client.mutate("publishVideo", "video { id }", uploadId=upload["id"], caption=caption, **fields)
        done = await client.wait_for_upload(upload["id"])
        assert done["state"] == "READY", done
        return str(payload["video"]["id"])


Step = Callable[[World], Awaitable[None]]
"""One thing that a user does; its docstring names it."""


@asynccontextmanager
async def open_world(instance: Instance | Cluster, folder: Path) -> AsyncIterator[World]:
    """A world on a running instance."""
    async with AsyncExitStack() as stack:
        yield World(instance, folder, stack, await FfmpegTools.find())


async def eventually(read: Callable[[], Awaitable[T]], wanted: T, within_s: float = 10) -> None:
    """Read until the answer is `wanted`: what others did reaches a viewer in a moment, not at once."""
    got = await read()
    until = asyncio.get_running_loop().time() + within_s
    while got != wanted and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.1)
        got = await read()
    assert got == wanted, f"{got!r}, not {wanted!r}"


async def user_error(client: ApiClient, name: str, fields: str, /, **input_: Any) -> tuple[str, list[str] | None]:
    """Code and field of the one user error that mutation `name` must answer."""
    try:
        payload = await client.mutate(name, fields, **input_)
    except RequestFailed as error:
        assert len(error.errors) == 1, error.errors
        assert "extensions" not in error.errors[0], f"{name} failed as a whole: {error.errors}"
        return error.errors[0]["code"], error.errors[0]["field"]
    raise AssertionError(f"{name} succeeded: {payload}")


async def error_code(client: ApiClient, query: str, variables: Json | None = None) -> str:
    """`extensions.code` of the first error that an operation must answer."""
    answer = await client.raw(query, variables)
    assert answer.get("errors"), f"succeeded: {answer}"
    code: str = answer["errors"][0]["extensions"]["code"]
    return code
