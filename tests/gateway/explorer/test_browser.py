"""The built pages in a real Chromium, offline: they work, ask no other origin, and break no policy."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import imageio_ffmpeg
import pytest
from playwright.async_api import Page, async_playwright, expect

from gateway.explorer import locate_dist
from tests.gateway.explorer.fake_gateway import DEMO, HASTY, FakeGateway, running

CHROMIUM = Path(os.environ.get("REELGRAPH_TEST_CHROMIUM", "/usr/bin/chromium"))
DIST = locate_dist()
ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# One CPU of a busy machine may take this long for Monaco's first start; nothing waits where it is quicker.
PATIENCE_MS = 30_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no Chromium at {CHROMIUM}"),
    pytest.mark.skipif(DIST is None, reason="the pages are not built: make web"),
]


@dataclass
class Tab:
    """A page of the browser, and all that it asked for and complained about."""

    page: Page
    gateway: FakeGateway
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("websocket", lambda socket: self.requested.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type in ("error", "warning") else None,
        )

    def foreign(self) -> list[str]:
        home = urlsplit(self.gateway.url).netloc
        urls = (urlsplit(url) for url in self.requested)
        return [url.geturl() for url in urls if url.scheme not in ("data", "blob") and url.netloc != home]


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    assert DIST is not None
    async with running(DIST, tmp_path) as gateway, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            opened = Tab(page, gateway)
            opened.watch()
            yield opened
        finally:
            await browser.close()


async def open_explorer(tab: Tab) -> None:
    await tab.page.goto(f"{tab.gateway.url}/graphql")
    await expect(tab.page.locator(".graphiql-query-editor .view-line").first).to_be_visible()
    # The documentation is there once the schema has been read.
    await expect(tab.page.get_by_role("button", name="Re-fetch GraphQL schema")).to_be_enabled()


async def run_operation(tab: Tab) -> None:
    await tab.page.get_by_role("button", name="Execute query (Ctrl-Enter)").click()


async def screenshot(tab: Tab, name: str) -> None:
    """Kept only where somebody asks for them, to look at."""
    folder = os.environ.get("REELGRAPH_TEST_SCREENSHOTS")
    if folder:
        await tab.page.screenshot(path=Path(folder) / f"{name}.png")


async def test_the_default_query_is_the_feed_and_shows_its_answer_offline(tab: Tab) -> None:
    await open_explorer(tab)
    await expect(tab.page.locator(".graphiql-tab-active .graphiql-tab-button")).to_have_text("Feed")

    await run_operation(tab)
    await expect(tab.page.locator(".result-window")).to_contain_text("snapshotId")
    await expect(tab.page.get_by_role("link", name="Play these 2 videos")).to_be_visible()
    await screenshot(tab, "feed")

    assert tab.foreign() == []
    assert tab.complaints == []


async def test_the_explorer_plugin_and_the_documentation_open(tab: Tab) -> None:
    await open_explorer(tab)

    await tab.page.get_by_role("button", name="Show GraphiQL Explorer").click()
    await expect(tab.page.locator(".docExplorerWrap")).to_contain_text("snapshotId")
    await screenshot(tab, "plugin")
    await tab.page.get_by_role("button", name="Show Documentation Explorer").click()
    await expect(tab.page.locator(".graphiql-doc-explorer")).to_contain_text("Query")

    assert tab.foreign() == []
    assert tab.complaints == []


async def test_one_click_logs_in_for_http_and_websocket_and_another_logs_out(tab: Tab) -> None:
    await open_explorer(tab)
    await tab.page.get_by_role("button", name="Log in as demo").click()
    await expect(tab.page.get_by_text(f"@{DEMO.username}")).to_be_visible()

    await run_operation(tab)
    await expect(tab.page.locator(".result-window")).to_contain_text("snapshotId")
    assert tab.gateway.authorizations[-1] == "Bearer access-1"

    await tab.page.get_by_label("Examples").select_option("CommentAdded")
    await run_operation(tab)
    await expect(tab.page.locator(".result-window")).to_contain_text("v1 for Bearer access-1")
    await screenshot(tab, "subscription")
    await tab.page.get_by_role("button", name="Stop query (Ctrl-Enter)").click()

    await tab.page.get_by_label("Examples").select_option("Trending")
    await tab.page.get_by_role("button", name="Log out").click()
    await expect(tab.page.get_by_role("button", name="Log in as demo")).to_be_visible()
    await run_operation(tab)
    await expect(tab.page.locator(".result-window")).to_contain_text("Clip 1")
    assert tab.gateway.authorizations[-1] is None

    stored = await tab.page.evaluate("JSON.stringify({...localStorage})")
    assert "access-1" not in stored
    assert tab.foreign() == []
    assert tab.complaints == []


async def test_a_log_in_lasts_for_a_reload_and_a_wrong_password_is_told(tab: Tab) -> None:
    await open_explorer(tab)
    await tab.page.get_by_role("button", name="Log in…").click()
    await tab.page.get_by_label("User name").fill(DEMO.username)
    await tab.page.get_by_label("Password").fill("wrong")
    await tab.page.get_by_role("button", name="Log in", exact=True).click()
    await expect(tab.page.get_by_role("alert").first).to_have_text("User name or password is wrong.")
    await screenshot(tab, "wrong-password")

    await tab.page.get_by_label("Password").fill(DEMO.password)
    await tab.page.get_by_role("button", name="Log in", exact=True).click()
    await expect(tab.page.get_by_text(f"@{DEMO.username}")).to_be_visible()
    await tab.page.reload()
    await expect(tab.page.get_by_text(f"@{DEMO.username}")).to_be_visible()

    assert tab.complaints == []


async def test_a_token_about_to_expire_is_refreshed_before_it_is_sent(tab: Tab) -> None:
    await open_explorer(tab)
    await tab.page.get_by_role("button", name="Log in…").click()
    await tab.page.get_by_label("User name").fill(HASTY.username)
    await tab.page.get_by_label("Password").fill(HASTY.password)
    await tab.page.get_by_role("button", name="Log in", exact=True).click()
    await expect(tab.page.get_by_text(f"@{HASTY.username}")).to_be_visible()

    await run_operation(tab)
    await expect(tab.page.locator(".result-window")).to_contain_text("snapshotId")

    assert tab.gateway.authorizations[-1] == "Bearer access-2"
    assert "Bearer access-1" not in tab.gateway.authorizations
    await tab.page.get_by_role("button", name="Headers").click()
    await expect(tab.page.locator(".graphiql-editor-tool")).to_contain_text("Bearer access-2")
    assert tab.complaints == []


async def make_clip(folder: Path) -> None:
    """A vertical clip of one second with sound, as HLS in fMP4, and its poster."""
    ffmpeg = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
    picture = ["-f", "lavfi", "-i", "testsrc2=size=180x320:rate=15:duration=1"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "15", "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"]
    outputs = [*codecs, *hls, "-master_pl_name", "master.m3u8", "media.m3u8", "-frames:v", "1", "poster.jpg"]
    process = await asyncio.create_subprocess_exec(ffmpeg, "-v", "error", "-y", *picture, *sound, *outputs, cwd=folder)
    assert await process.wait() == 0


async def test_the_player_loops_a_clip_muted_and_vertical(tab: Tab, tmp_path: Path) -> None:
    await make_clip(tmp_path)
    await tab.page.goto(f"{tab.gateway.url}/explorer/player.html?src=/v/master.m3u8")

    # Not wait_for_function: it evaluates a string in the page, which the page's policy forbids.
    looped = "video.addEventListener('timeupdate', () => window.__player.loops >= 2 && done())"
    async with asyncio.timeout(PATIENCE_MS / 1000):
        await tab.page.evaluate(f"new Promise((done) => {looped})")
    await screenshot(tab, "player")

    state = await tab.page.evaluate("({...window.__player})")
    assert state["errors"] == []
    assert (state["videoWidth"], state["videoHeight"]) == (180, 320)
    assert (state["muted"], state["paused"], state["engine"]) == (True, False, "hls.js")
    assert [(level["width"], level["height"]) for level in state["levels"]] == [(180, 320)]
    # Played again from memory: each file was asked for once.
    media = [url for url in tab.requested if "/v/" in url]
    assert len(media) == len(set(media))
    assert f"{tab.gateway.url}/v/poster.jpg" in media
    assert tab.foreign() == []
    assert tab.complaints == []


async def test_the_player_tells_why_a_clip_cannot_be_played(tab: Tab) -> None:
    await tab.page.goto(
        f"{tab.gateway.url}/explorer/player.html?src=/explorer/absent.m3u8&poster=/explorer/favicon.svg"
    )

    await expect(tab.page.get_by_role("status")).to_contain_text("HTTP 404")
    state = await tab.page.evaluate("({...window.__player})")
    assert state["src"] == "/explorer/absent.m3u8"
    assert [problem["fatal"] for problem in state["errors"]] == [True]
    assert (state["muted"], state["currentTime"], state["levels"]) == (True, 0, [])
    assert tab.foreign() == []
    assert not [line for line in tab.complaints if "Content Security Policy" in line]
