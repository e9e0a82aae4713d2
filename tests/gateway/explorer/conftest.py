"""A small folder that looks as the build leaves web/dist, and the app that serves it."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from gateway.explorer import DemoLogin, explorer_routes

SCRIPT = b"export const answer = 42;" * 40


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><div id="root"></div>')
    (folder / "player.html").write_text('<!doctype html><video id="video"></video>')
    (folder / ".stamp").write_text("0123")
    (folder / "assets" / "index-Ab12Cd34.js").write_bytes(SCRIPT)
    (folder / "assets" / "index-Ab12Cd34.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets" / "index-Ef56Gh78.css").write_text("body { margin: 0 }")
    (tmp_path / "secret.txt").write_text("outside of dist")
    return folder


@pytest.fixture
def demo_logins() -> list[DemoLogin]:
    return [DemoLogin("ada", "correct horse")]


@pytest.fixture
async def client(dist: Path, demo_logins: list[DemoLogin]) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=explorer_routes(dist, lambda: demo_logins, version="1.2.3"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://explorer.test") as session:
        yield session
