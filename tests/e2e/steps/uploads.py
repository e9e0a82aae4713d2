"""Uploads in parts, their failures, transcoding and what becomes of bad files."""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
from pathlib import Path

import httpx

from launcher.demo.client import UPLOAD, ApiClient, Json
from tests.e2e.sockets import open_socket
from tests.e2e.world import World, user_error

PART = 5 * 1024 * 1024
PROGRESS = "subscription ($id: ID!) { uploadProgressed(uploadId: $id) { state progressPercent } }"


def _padded(clip: Path, target: Path, size: int) -> Path:
    """The clip with an ISO `free` box behind it, so that it has several parts."""
    data = clip.read_bytes()
    rest = size - len(data) - 8
    target.write_bytes(data + struct.pack(">I4s", rest + 8, b"free") + random.Random(7).randbytes(rest))
    return target


async def _put(client: ApiClient, part: Json, body: bytes) -> int:
    """The status; 499 where a store hangs up on who sends what it refuses, before all of it was sent."""
    headers = {h["name"]: h["value"] for h in part["headers"]}
    try:
        return (await client.http.put(part["url"], content=body, headers=headers)).status_code
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return 499


async def _upload(client: ApiClient, upload_id: str) -> Json:
    found: Json = (await client.query(f"query ($id: ID!) {{ upload(id: $id) {{ {UPLOAD} }} }}", {"id": upload_id}))[
        "upload"
    ]
    return found


async def in_parts(world: World) -> None:
    """parts in any order and in parallel, resumed; wrong parts refused; progress by subscription; published"""
    alice = await world.person("alice")
    path = _padded(await world.clip("cats", 1), world.folder / "padded.mp4", 2 * PART + 123_456)
    data = path.read_bytes()
    pieces = [data[i : i + PART] for i in range(0, len(data), PART)]
    digests = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    upload = await alice.begin_upload(path, partSha256=digests)
    assert [p["sizeBytes"] for p in upload["parts"]] == [len(piece) for piece in pieces]
    first, second, third = upload["parts"]
    assert await _put(alice, second, pieces[1][:-1]) >= 400, "a short part was taken"
    assert await _put(alice, second, pieces[1][:-1] + bytes([pieces[1][-1] ^ 1])) >= 400, "a changed part was taken"
    forged = {**second, "url": second["url"][:-4] + ("AAAA" if not second["url"].endswith("AAAA") else "BBBB")}
    assert await _put(alice, forged, pieces[1]) in (403, 404, 499)
    assert await _put(alice, third, pieces[2]) < 300
    assert [p["received"] for p in (await _upload(alice, upload["id"]))["parts"]] == [False, False, True]
    missing = await user_error(alice, "completeUpload", "upload { id }", uploadId=upload["id"])
    assert missing[0] == "INCOMPLETE"
    resumed = await alice.begin_upload(path, partSha256=digests)
    assert resumed["id"] == upload["id"] and [p["received"] for p in resumed["parts"]] == [False, False, True]
    codes = await asyncio.gather(*(_put(alice, p, pieces[p["number"] - 1]) for p in (*resumed["parts"][:2], first)))
    assert all(code < 300 for code in codes)
    async with open_socket(world.url, alice.token) as socket:
        progress = await socket.subscribe(PROGRESS, {"id": upload["id"]})
        assert (await progress.next()) is not None
        await alice.mutate("completeUpload", "upload { id state }", uploadId=upload["id"])
        seen = []
        while (data_ := await progress.next(60)) is not None:
            seen.append((data_["uploadProgressed"]["state"], data_["uploadProgressed"]["progressPercent"]))
    assert seen[-1] == ("READY", 100), seen
    assert any(state == "TRANSCODING" for state, _ in seen), seen
    published = await alice.mutate(
        "publishVideo", "video { id state hashtags }", uploadId=upload["id"], caption="My cat #Cats #cats"
    )
    again = await alice.mutate("publishVideo", "video { id }", uploadId=upload["id"], caption="Another caption")
    assert again["video"]["id"] == published["video"]["id"] and published["video"]["hashtags"] == ["cats"]
    world.videos["cat"] = published["video"]["id"]
    world.kept["cat file"] = path


async def the_same_bytes(world: World) -> None:
    """the same bytes twice are stored once; a bare digest gives nothing"""
    path: Path = world.kept["cat file"]
    alice, bob = await world.person("alice"), await world.person("bob")
    own = await alice.begin_upload(path)
    assert own["state"] == "READY", "one's own bytes again must be READY at once"
    theirs = await bob.begin_upload(path)
    assert theirs["state"] == "RECEIVING" and not any(p["received"] for p in theirs["parts"])
    hidden = await bob.query("query ($id: ID!) { upload(id: $id) { id } }", {"id": own["id"]})
    assert hidden["upload"] is None, "somebody else's upload is visible"
    await bob.put_parts(path, theirs)
    await bob.mutate("completeUpload", "upload { id }", uploadId=theirs["id"])
    assert (await bob.wait_for_upload(theirs["id"]))["state"] == "READY"


async def bad_files(world: World) -> None:
    """what is not a playable video fails with a reason a person understands"""
    carol = await world.person("carol")
    clip = await world.clip("music", 3)
    whole = clip.read_bytes()
    files = {
        "random.mp4": random.Random(5).randbytes(40_000),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "cut.mp4": whole[: len(whole) // 2],
    }
    for name, data in files.items():
        path = world.folder / name
        path.write_bytes(data)
        done = await carol.wait_for_upload((await carol.upload(path))["id"])
        assert done["state"] == "FAILED" and done["failureCode"] and len(done["failureReason"]) > 10, (name, done)
        fresh = await carol.begin_upload(path)
        assert fresh["id"] != done["id"], "FAILED is final; begin again gives a new upload"
    fields = {"fileName": "x.mp4", "contentType": "video/mp4", "sha256": "0" * 64}
    assert (await user_error(carol, "beginUpload", "upload { id }", sizeBytes=0, **fields))[1] == ["sizeBytes"]
    large = await user_error(carol, "beginUpload", "upload { id }", sizeBytes=3 * 1024**3, **fields)
    assert large == ("TOO_LARGE", ["sizeBytes"])
    odd = await user_error(carol, "beginUpload", "upload { id }", sizeBytes=5, **{**fields, "sha256": "xyz"})
    assert odd[1] == ["sha256"]
    text = await user_error(
        carol, "beginUpload", "upload { id }", sizeBytes=5, **{**fields, "contentType": "text/html"}
    )
    assert text[1] == ["contentType"]


async def wrong_digest(world: World) -> None:
    """bytes that do not match the announced digest fail as a whole"""
    carol = await world.person("carol")
    path = await world.clip("art", 9)
    payload = await carol.mutate(
        "beginUpload",
        f"upload {{ {UPLOAD} }}",
        fileName="a.mp4",
        contentType="video/mp4",
        sizeBytes=path.stat().st_size,
        sha256="ab" * 32,
    )
    await carol.put_parts(path, payload["upload"])
    await carol.mutate("completeUpload", "upload { id }", uploadId=payload["upload"]["id"])
    done = await carol.wait_for_upload(payload["upload"]["id"])
    assert done["state"] == "FAILED" and "digest" in (done["failureCode"] + done["failureReason"]).lower()


STEPS = (in_parts, the_same_bytes, bad_files, wrong_digest)
