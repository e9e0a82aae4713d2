"""The platform's own feed as a policy: people sign up, follow, read pages and report watches through the public API."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulate.door import Door
from bench.simulate.host import Host
from bench.simulate.plan import Clip, Person, Plan
from bench.simulate.policies import Seen
from bench.simulate.publishing import Library
from gateway.ids import Kind, encode, number_of

FEED = """query ($first: Int!, $after: String) { feed(first: $first, after: $after) {
  edges { cursor node { id } reason { kind } } pageInfo { hasNextPage endCursor } } }"""
SIGN_UP = "accessToken user { id }"
PASSWORD = "a simulated person"
BETWEEN_PUBLICATIONS_S = 0.01
SETTLED_EACH = 25
"""Old videos that are published before the platform has worked them in: nobody watches yet."""
OLD_DAYS = 10
"""Age of the catalogue when people begin to watch: none of it is new."""


@dataclass(slots=True)
class _Reader:
    token: str
    cursor: str | None = None
    edges: dict[int, str] | None = None
    """Cursors of the page at hand, by clip."""


class LiveFeed:
    """See `Policy`."""

    def __init__(self, host: Host, door: Door, plan: Plan, seed: int) -> None:
        self.host, self._door, self._plan, self._seed = host, door, plan, seed
        self._library = Library(host.platform, host.databases["media"])
        self._creators: dict[int, tuple[str, str]] = {}
        self._readers: dict[int, _Reader] = {}
        self._by_id: dict[str, Clip] = {}
        self._ids: dict[int, str] = {}
        self.reasons: list[tuple[int, int, str]] = []
        """(person, clip, reason) of everything served."""

    async def publish(self, clip: Clip) -> None:
        token, owner = await self._creator(clip.creator)
        upload = await self._library.upload(number_of(Kind.USER, owner) or 0, clip)
        caption = " ".join(f"#{tag}" for tag in clip.kind.tags)
        payload = await self._door.mutate(
            "publishVideo", "video { id }", token, uploadId=encode(Kind.UPLOAD, upload), caption=caption
        )
        video = payload["video"]["id"]
        self._by_id[video], self._ids[clip.number] = clip, video
        self.host.clock.advance(BETWEEN_PUBLICATIONS_S)
        if clip.is_new or len(self._ids) % SETTLED_EACH == 0:
            # Worked in first: a job that the clock wakes must not race with the events it reads.
            await self.host.settle()
            await self.host.pass_time(1)

    async def open_doors(self) -> None:
        """The old videos grow old; people sign up. They follow nobody, and say nothing of their interests."""
        await self.pause(OLD_DAYS * 24 * 3600)
        for person in self._plan.people:
            payload = await self._door.mutate(
                "signUp", SIGN_UP, "", username=f"viewer_{person.number}", password=PASSWORD, device="simulated"
            )
            self._readers[person.number] = _Reader(payload["accessToken"])
            self.host.clock.advance(1)
        await self.host.settle()

    async def _creator(self, number: int) -> tuple[str, str]:
        if number not in self._creators:
            payload = await self._door.mutate(
                "signUp", SIGN_UP, "", username=f"creator_{number}", password=PASSWORD, device="simulated"
            )
            self._creators[number] = payload["accessToken"], payload["user"]["id"]
        return self._creators[number]

    async def begin(self, person: Person) -> None:
        self._readers[person.number].cursor = None

    async def page(self, person: Person, size: int) -> Sequence[Clip]:
        reader = self._readers[person.number]
        feed = (await self._door.ask(FEED, {"first": size, "after": reader.cursor}, reader.token))["feed"]
        clips = [self._by_id[edge["node"]["id"]] for edge in feed["edges"]]
        reader.edges = {clip.number: edge["cursor"] for clip, edge in zip(clips, feed["edges"], strict=True)}
        reader.cursor = feed["pageInfo"]["endCursor"] or reader.cursor
        kinds = (edge["reason"]["kind"] for edge in feed["edges"])
        self.reasons += [(person.number, clip.number, kind) for clip, kind in zip(clips, kinds, strict=True)]
        return clips

    async def told(self, person: Person, seen: Seen) -> None:
        reader = self._readers[person.number]
        edges = reader.edges or {}
        await self.host.pass_time(sum(reaction.watched_ms for _, reaction in seen) / 1000 + len(seen))
        watches = [
            {
                "watchId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._seed}/{edges[clip.number]}")),
                "videoId": self._ids[clip.number],
                "watchedMs": reaction.watched_ms,
                "completed": reaction.completed,
                "skipped": reaction.skipped,
                "edgeCursor": edges[clip.number],
            }
            for clip, reaction in seen
        ]
        await self._door.mutate("recordWatches", "acceptedCount", reader.token, watches=watches)
        for clip, reaction in seen:
            video = self._ids[clip.number]
            if reaction.liked:
                await self._door.mutate("likeVideo", "video { id }", reader.token, videoId=video)
            if reaction.followed:
                owner = self._creators[clip.creator][1]
                await self._door.mutate("followUser", "user { id }", reader.token, userId=owner)
            if reaction.refused:
                await self._door.mutate("markNotInterested", "video { id }", reader.token, videoId=video)
        await self.host.settle()

    async def pause(self, seconds: float) -> None:
        await self.host.pass_time(seconds)
