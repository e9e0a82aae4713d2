"""Playlists and segments over HTTP, read by ffmpeg and played by hls.js in a real browser."""

from __future__ import annotations

import asyncio
import shutil
from urllib.parse import quote, urljoin

from tests.e2e.browser import CHROMIUM, page
from tests.e2e.world import World

PLAYBACK = """query ($id: ID!) { video(id: $id) { state durationMs width height
  playback { hlsUrl posterUrl stillUrls expiresAt renditions { width height codec bitrateKbps } } } }"""


async def http(world: World) -> None:
    """types, Range, ETag, cache headers, signed URLs; forged ones refused"""
    alice = await world.person("alice")
    video = (await alice.query(PLAYBACK, {"id": world.videos["cat"]}))["video"]
    playback = video["playback"]
    assert video["state"] == "READY" and (video["width"], video["height"]) == (360, 640) and video["durationMs"] > 1500
    assert len(playback["stillUrls"]) == 3 and playback["renditions"]
    master = await alice.http.get(playback["hlsUrl"])
    assert master.status_code == 200 and "mpegurl" in master.headers["content-type"]
    assert "BANDWIDTH=" in master.text and "http" not in master.text, "URIs inside playlists must be relative"
    variant = urljoin(playback["hlsUrl"], next(x for x in master.text.splitlines() if x and x[0] != "#"))
    media = await alice.http.get(variant)
    segment = urljoin(variant, next(x for x in media.text.splitlines() if x and x[0] != "#"))
    whole = await alice.http.get(segment)
    assert whole.status_code == 200 and "etag" in whole.headers and "cache-control" in whole.headers
    part = await alice.http.get(segment, headers={"range": "bytes=0-99"})
    assert part.status_code == 206 and part.content == whole.content[:100]
    assert part.headers["content-range"] == f"bytes 0-99/{len(whole.content)}"
    same = await alice.http.get(segment, headers={"if-none-match": whole.headers["etag"]})
    assert same.status_code == 304
    beyond = await alice.http.get(segment, headers={"range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416
    for url in (playback["posterUrl"], *playback["stillUrls"]):
        image = await alice.http.get(url)
        assert (
            image.status_code == 200
            and image.headers["content-type"] == "image/jpeg"
            and image.content[:2] == b"\xff\xd8"
        )
    token = playback["hlsUrl"].split("/v/")[1].split("/")[0]
    forged = playback["hlsUrl"].replace(token, token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"))
    assert (await alice.http.get(forged)).status_code == 403
    world.kept["cat hls"] = playback["hlsUrl"]


async def ffmpeg(world: World) -> None:
    """ffmpeg reads the playlist without a warning"""
    command = (str(world.tools.ffmpeg), "-v", "warning", "-i", world.kept["cat hls"], "-f", "null", "-")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0 and not errors, errors.decode()


async def hls_js(world: World) -> None:
    """hls.js in a real browser plays it, looping"""
    if not shutil.which(CHROMIUM):
        print(f"      (no {CHROMIUM} here: not played in a browser)")
        return
    async with page() as tab:
        await tab.goto(f"{world.instance.base}/explorer/player.html?src={quote(world.kept['cat hls'], safe='')}")
        async with asyncio.timeout(30):
            while (state := await tab.evaluate("({...window.__player})")).get("loops", 0) < 1:
                assert not state.get("errors"), state
                await asyncio.sleep(0.2)
        assert state["muted"] and (state["videoWidth"], state["videoHeight"]) == (360, 640), state


STEPS = (http, ffmpeg, hls_js)
