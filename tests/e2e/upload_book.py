"""A client's own book of its uploads: each is tried again, with the same keys, until its video is published."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from launcher.demo.client import UPLOAD, ApiClient, Json, RequestFailed
from tests.e2e.seen import AT_THE_STORE, Seen, codes_of

PART_S = 10.0
NOISE_BYTES = 4096
FATES = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Upload { id state failureReason video { id } } } }"""
OWN = """query ($after: String) { viewer { user { videos(first: 100, after: $after) {
  edges { cursor node { id caption } } pageInfo { hasNextPage } } } } }"""


class NotDone(Exception):
    """A step of an upload was not acknowledged. `name` is the failure's, see `Seen`."""

    def __init__(self, name: str, *, hinted: bool = False) -> None:
        super().__init__(name)
        self.name = name
        self.hinted = hinted


def _key() -> str:
    return secrets.token_hex(16)


@dataclass(slots=True)
class Sending:
    """One upload, the same each time it is tried. What was answered is kept: no answer may be another later."""

    person: str
    data: bytes
    begin_key: str = field(default_factory=_key)
    complete_key: str = field(default_factory=_key)
    publish_key: str = field(default_factory=_key)
    id: str = ""
    completed: bool = False
    video: str = ""

    @property
    def caption(self) -> str:
        """Nobody else's."""
        return f"upload {self.begin_key}"


class UploadBook:
    """What was acknowledged, and what is still open."""

    def __init__(self, clip: bytes, dice: random.Random) -> None:
        self._clip = clip
        self._dice = dice
        self.sent: list[Sending] = []
        """Acknowledged and published."""
        self.pending: list[Sending] = []

    def draw(self, person: str) -> Sending:
        """A new upload, of bytes that nobody has sent before: nothing of it is there already."""
        noise = self._dice.randbytes(NOISE_BYTES)
        # An ISO `free` box: players and encoders pass over it.
        return Sending(person, self._clip + struct.pack(">I4s", len(noise) + 8, b"free") + noise)

    async def attempt(self, sending: Sending, people: Mapping[str, ApiClient], seen: Seen) -> bool:
        """Go on with an upload from its first step that is not acknowledged; else it stays pending."""
        client = people[sending.person]
        try:
            if not sending.completed:
                await self._send(sending, client)
                sending.completed = True
                seen.uploads += 1
            # The second time as a client that lost the answer: the same video.
            for _ in range(2):
                await self._publish(sending, client)
        except NotDone as failure:
            seen.count(seen.failed_uploads, failure.name, hinted=failure.hinted)
        except (httpx.TransportError, ValueError) as error:
            seen.failed_uploads[f"upload {type(error).__name__}"] += 1
        else:
            self.sent.append(sending)
            return True
        self.pending.append(sending)
        return False

    async def _send(self, sending: Sending, client: ApiClient) -> None:
        begun = await _mutate(
            client,
            "beginUpload",
            f"upload {{ {UPLOAD} }}",
            fileName="load.mp4",
            contentType="video/mp4",
            sizeBytes=len(sending.data),
            sha256=hashlib.sha256(sending.data).hexdigest(),
            idempotencyKey=sending.begin_key,
        )
        upload: Json = begun["upload"]
        if sending.id and upload["id"] != sending.id:
            raise NotDone("beginUpload: another upload for the same key")
        sending.id = upload["id"]
        if upload["state"] == "RECEIVING":
            for part in upload["parts"]:
                if not part["received"]:
                    await _put(client, part, sending.data)
        await _mutate(
            client, "completeUpload", "upload { id }", uploadId=sending.id, idempotencyKey=sending.complete_key
        )

    async def _publish(self, sending: Sending, client: ApiClient) -> None:
        given = {"uploadId": sending.id, "caption": sending.caption, "idempotencyKey": sending.publish_key}
        video = (await _mutate(client, "publishVideo", "video { id }", **given))["video"]["id"]
        if sending.video and video != sending.video:
            raise NotDone("publishVideo: another video for the same key")
        sending.video = video

    async def differences(self, people: Mapping[str, ApiClient]) -> list[str]:
        """What is not as acknowledged: uploads that are not READY, videos missing, others, or there twice."""
        wrong = [f"an upload of {sending.person}'s is still refused" for sending in self.pending]
        for name, client in people.items():
            mine = [sending for sending in self.sent if sending.person == name]
            found = await _fates(client, [sending.id for sending in mine])
            videos = await _own_videos(client)
            for sending in mine:
                fate = found.get(sending.id) or {"state": "lost", "video": None}
                if fate["state"] != "READY":
                    wrong.append(f"upload {sending.id}: {fate['state']} {fate.get('failureReason') or ''}, not READY")
                elif (fate["video"] or {}).get("id") != sending.video or videos[sending.caption] != 1:
                    wrong.append(f"upload {sending.id}: {videos[sending.caption]} videos, {fate['video']}")
            captions = {sending.caption for sending in mine}
            wrong += [f"{count} videos {caption}" for caption, count in videos.items() if caption not in captions]
        return wrong


async def _mutate(client: ApiClient, name: str, fields: str, /, **input_: Any) -> Json:
    try:
        return await client.mutate(name, fields, **input_)
    except RequestFailed as error:
        code, hinted = next(iter(codes_of(error)))
        raise NotDone(f"{name} {code}", hinted=hinted) from error


async def _put(client: ApiClient, part: Json, data: bytes) -> None:
    headers = {header["name"]: header["value"] for header in part["headers"]}
    try:
        answer = await client.http.put(part["url"], content=data, headers=headers, timeout=PART_S)
    except httpx.TransportError:
        raise NotDone(AT_THE_STORE) from None
    if answer.status_code >= 300:
        raise NotDone(f"part {answer.status_code}", hinted="retry-after" in answer.headers)


async def _fates(client: ApiClient, ids: list[str]) -> dict[str, Json]:
    pages = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    answers = await asyncio.gather(*(client.query(FATES, {"ids": page}) for page in pages))
    return {node["id"]: node for answer in answers for node in answer["nodes"] if node}


async def _own_videos(client: ApiClient) -> Counter[str]:
    """By caption, as their author sees them: also those that are not READY."""
    found: Counter[str] = Counter()
    after: str | None = None
    while True:
        videos = (await client.query(OWN, {"after": after}))["viewer"]["user"]["videos"]
        found.update(edge["node"]["caption"] for edge in videos["edges"])
        if not videos["pageInfo"]["hasNextPage"]:
            return found
        after = videos["edges"][-1]["cursor"]
