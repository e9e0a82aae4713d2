"""The platform on the real servers, every role a process of its own: rolling restarts and SIGKILLs under load."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from launcher.demo.client import ApiClient
from tests.e2e.bounds import UPLOADS_READY_S
from tests.e2e.cluster import ROLES, Cluster, Member, layout, running
from tests.e2e.load import Load, balanced, crowd
from tests.e2e.production import fresh_engines
from tests.e2e.seen import code_of
from tests.e2e.sockets import open_socket
from tests.e2e.world import PASSWORD, World, open_world

pytestmark = [pytest.mark.production, pytest.mark.xdist_group("production")]

PEOPLE = ("ann", "ben", "cat", "dan")
DRAIN_NOTICE_S = 2.0
CONVERGE_S = 30.0
DEFECTS = {"INTERNAL", "UNKNOWN", "None", "500"}
COMMENTS = """subscription ($id: ID!, $after: ID) { commentAdded(videoId: $id, after: $after) { id } }"""


@asynccontextmanager
async def under_load(folder: Path, replicas: int, dice: random.Random) -> AsyncIterator[tuple[Cluster, Load]]:
    """A cluster with videos, people and a book; the load is the caller's to run."""
    async with fresh_engines() as engines:
        notice = {"REELGRAPH_DRAIN_NOTICE_S": str(DRAIN_NOTICE_S)}
        cluster = layout(folder / "cluster", engines, dict.fromkeys(ROLES, replicas), **notice)
        async with running(cluster), open_world(cluster, folder) as world:
            videos = [await _publish(world, seed) for seed in range(3)]
            bases = [member.base for member in cluster.of("gateway")]
            clip = await world.clip("cats", 39, seconds=1, width=90, height=160)
            media = [member.base for member in cluster.of("media")]
            async with crowd(bases, PEOPLE, dice) as people, balanced(media, dice) as balancer:
                yield cluster, Load(people, videos, clip.read_bytes(), dice, balancer)


async def _publish(world: World, seed: int) -> str:
    path = await world.clip("cats", 40 + seed, seconds=1, width=90, height=160)
    return await world.publish("author", path, f"no. {seed}")


@pytest.mark.timeout(900)
async def test_a_rolling_restart_under_load_fails_no_request_and_sockets_resume(tmp_path: Path) -> None:
    dice = random.Random(1)
    async with under_load(tmp_path, 2, dice) as (cluster, load):
        listener = Listener(load.people["ann"], load.videos[0], cluster)
        async with listener.listening(), load.running():
            for member in cluster.members:
                assert await member.stop() == 0, member.tail()
                await cluster.start([member])
                # As an orchestrator does: the next one goes when the new one has taken its share.
                await asyncio.sleep(DRAIN_NOTICE_S)
        seen = load.seen
        print(f"{seen.answered}, p99 {seen.p99_read_ms} ms, {listener.connections} connections")
        assert {kind: dict(failed) for kind, failed in seen.failures.items() if failed} == {}
        assert seen.reads > 100 and seen.writes > 100 and min(seen.answered.values()) > 5
        await settle(load)
        assert listener.connections > 1, "no gateway sent the socket away"
        assert await listener.has_all(load.ledger.comments[load.videos[0]])
        assert max(Counter(listener.ids).values()) == 1


@pytest.mark.timeout(900)
async def test_five_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path, 5)


@pytest.mark.soak
@pytest.mark.timeout(5400)
async def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path, 100)


async def kill_again_and_again(folder: Path, kills: int) -> None:
    """SIGKILL random processes under load, each started again a moment later, as a supervisor does."""
    dice = random.Random(kills)
    async with under_load(folder, 1, dice) as (cluster, load):
        killed: Counter[str] = Counter()
        async with load.running():
            for number in range(kills):
                await asyncio.sleep(dice.uniform(0.5, 2.5))
                # Every role has its turn; which comes when is drawn.
                member = cluster.members[number % len(cluster.members)] if number < 6 else dice.choice(cluster.members)
                await member.kill()
                killed[member.role] += 1
                await asyncio.sleep(dice.uniform(0.0, 1.0))
                await member.start(cluster.environment, cluster.data_dir)
            await cluster.ready()
            await asyncio.sleep(2)
        await settle(load)
        before = await projections(load.people, load.videos)
        failed = {kind: dict(counted) for kind, counted in load.seen.failures.items()}
        print(f"killed {dict(killed)}; {load.ledger.acknowledged} writes, {len(load.uploads.sent)} uploads; {failed}")
        assert load.ledger.acknowledged > 5 * kills and load.uploads.sent
        assert not [name for counted in failed.values() for name in counted if code_of(name) in DEFECTS]
        assert await cluster.stop() == 0
        await cluster.run("rebuild", "all")
        await cluster.start()
        for name, client in load.people.items():
            await client.log_in(name, PASSWORD)
        await settle(load)
        assert await projections(load.people, load.videos) == before, "a rebuild changed something"


async def settle(load: Load) -> None:
    """What is open is acknowledged, and what people see is what was acknowledged."""
    async with asyncio.timeout(CONVERGE_S):
        while load.ledger.pending:
            pending, load.ledger.pending = load.ledger.pending, []
            for operation in pending:
                await load.ledger.attempt(operation, load.people)
    assert await _until_right(lambda: load.ledger.differences(load.people, load.videos), CONVERGE_S) == []
    async with asyncio.timeout(CONVERGE_S):
        while load.uploads.pending:
            await load.visits.upload()
    assert await _until_right(lambda: load.uploads.differences(load.people), UPLOADS_READY_S) == []


async def _until_right(differences: Callable[[], Awaitable[list[str]]], within_s: float) -> list[str]:
    wrong = await differences()
    until = asyncio.get_running_loop().time() + within_s
    while wrong and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.3)
        wrong = await differences()
    return wrong


async def projections(people: dict[str, ApiClient], videos: list[str]) -> list[object]:
    """What people see that projections hold."""
    query = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Video { likeCount commentCount shareCount viewCount } }
      viewer { notifications(first: 100) { edges { node { kind actorCount } } }
        user { followerCount followers(first: 100) { edges { node { username } } } likeCount videoCount }
        watchHistory(first: 100) { edges { node { id } } } } }"""
    return [await client.query(query, {"ids": videos}) for client in people.values()]


class Listener:
    """Subscribes to a video's comments and comes back after every loss, as a client does: with the last id it has."""

    def __init__(self, client: ApiClient, video: str, cluster: Cluster) -> None:
        self._client = client
        self._video = video
        self._gateways: list[Member] = cluster.of("gateway")
        self.ids: list[str] = []
        self.connections = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the block lasts, and until `has_all` has answered."""
        self._task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            await asyncio.sleep(0)

    async def has_all(self, count: int) -> bool:
        """Whether `count` comments came, within half a minute; stops listening."""
        try:
            async with asyncio.timeout(CONVERGE_S):
                while len(self.ids) < count:
                    await asyncio.sleep(0.1)
            return True
        except TimeoutError:
            return False
        finally:
            self._task.cancel()

    async def _listen(self) -> None:
        while True:
            member = self._gateways[self.connections % len(self._gateways)]
            self.connections += 1
            try:
                async with open_socket(f"{member.base}/graphql", self._client.token) as socket:
                    after = self.ids[-1] if self.ids else None
                    operation = await socket.subscribe(COMMENTS, {"id": self._video, "after": after})
                    while True:
                        ended = asyncio.create_task(socket.closed(3600))
                        message = asyncio.create_task(operation.next(3600))
                        await asyncio.wait({ended, message}, return_when=asyncio.FIRST_COMPLETED)
                        ended.cancel()
                        if not message.done():
                            message.cancel()
                            break
                        data = message.result()
                        if data is None:
                            break
                        self.ids.append(data["commentAdded"]["id"])
            except (OSError, WebSocketException, AssertionError):
                await asyncio.sleep(0.2)
