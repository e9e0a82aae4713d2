"""SIGKILL at the worst moments: nothing acknowledged is lost, nothing is counted twice, transcodes go on."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from launcher.demo.client import ApiClient
from tests.e2e.instance import Instance, start
from tests.e2e.ledger import Ledger
from tests.e2e.world import PASSWORD, World, open_world
from tests.support.ports import free_port

POINTS = (
    "relay.before_publish",
    "relay.after_publish",
    "worker.before_handle",
    "worker.after_handle",
    "transcode.running",
)
PEOPLE = ("ann", "ben", "cat", "dan")
# Enough that a point is reached however many events a relay or a worker takes at once; a kill ends the round early.
OPERATIONS_A_ROUND = 240
CONVERGE_S = 20.0


@pytest.mark.timeout(300)
async def test_ten_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    await _kill_again_and_again(tmp_path, rounds=10)


@pytest.mark.soak
@pytest.mark.timeout(3000)
async def test_a_hundred_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    await _kill_again_and_again(tmp_path, rounds=100)


async def _kill_again_and_again(folder: Path, rounds: int) -> None:
    dice, port, data_dir = random.Random(rounds), free_port(), folder / "data"
    ledger = Ledger(dice)
    people: dict[str, ApiClient] = {}
    fired: Counter[str] = Counter()
    running = await start(data_dir, http_port=port)
    try:
        async with open_world(running, folder) as world:
            for name in PEOPLE:
                people[name] = await world.person(name)
            videos = [await _publish(world, seed) for seed in range(2)]
            assert await running.stop() == 0
            for number in range(rounds):
                point = POINTS[number % len(POINTS)]
                crash = {"REELGRAPH_CRASH_AT": f"{point}:{dice.randint(4, 14) if 'transcode' not in point else 1}"}
                running = await start(data_dir, http_port=port, environment=crash)
                try:
                    await _log_in(people)
                    if await _work_until_killed(running, world, ledger, people, videos, point, number):
                        fired[point] += 1
                except httpx.TransportError:
                    # What an earlier kill left in the outbox may lead to this one before anybody is logged in.
                    await running.process.wait()
                    fired[point] += 1
            running = await start(data_dir, http_port=port)
            await _log_in(people)
            await ledger.settle(people)
            assert await _converged(ledger, people, videos) == []
            await _every_video_is_ready(people)
            before = await _everything(people, videos)
            assert await running.stop() == 0
            for command in (("rebuild", "all"), ("replay", "graph.counters"), ("replay", "feed.counters")):
                _reelgraph(*command, "--data-dir", str(data_dir))
            running = await start(data_dir, http_port=port)
            await _log_in(people)
            assert await _converged(ledger, people, videos) == []
            assert await _everything(people, videos) == before, "a rebuild or a replay changed something"
            print(f"killed at its point: {dict(fired)} of {rounds} rounds, {ledger.acknowledged} acknowledged")
            assert set(fired) == set(POINTS), f"a crash point was never reached: {fired}"
            assert fired.total() >= 0.8 * rounds, f"most kills were not at their point: {fired}"
            assert ledger.acknowledged >= 5 * rounds
    finally:
        await running.kill()


async def _publish(world: World, seed: int) -> str:
    return await world.publish(
        "ann", await world.clip("cats", 40 + seed, seconds=1, width=90, height=160), f"no. {seed}"
    )


async def _log_in(people: dict[str, ApiClient]) -> None:
    for name, client in people.items():
        await client.log_in(name, PASSWORD)


async def _work_until_killed(
    running: Instance,
    world: World,
    ledger: Ledger,
    people: dict[str, ApiClient],
    videos: list[str],
    point: str,
    number: int,
) -> bool:
    """Random operations by everybody at once until the process has killed itself at its point; false when it had to be
    killed from outside, because enough was done before that."""
    if point == "transcode.running":
        path = await world.clip("music", 1000 + number, seconds=1, width=90, height=160)
        await _upload_and_publish(people["ben"], path, f"crash {number}")
    else:
        # What an earlier kill left open goes first: a person's operations keep their order.
        pending, ledger.pending = ledger.pending, []
        for operation in pending:
            await ledger.attempt(operation, people)

    async def act(person: str) -> None:
        for _ in range(OPERATIONS_A_ROUND // len(people)):
            if any(operation.person == person for operation in ledger.pending):
                return
            await ledger.attempt(ledger.draw(person, people, videos), people)

    await asyncio.gather(*(act(person) for person in people))
    try:
        async with asyncio.timeout(5):
            await running.process.wait()
            return True
    except TimeoutError:
        await running.kill()
        return False


async def _upload_and_publish(client: ApiClient, path: Path, caption: str) -> None:
    try:
        upload = await client.upload(path)
        await client.mutate("publishVideo", "video { id }", uploadId=upload["id"], caption=caption)
    except Exception as error:  # the server may die at any point of it: that is the test
        print(f"interrupted: {error!r}")


async def _converged(ledger: Ledger, people: dict[str, ApiClient], videos: list[str]) -> list[str]:
    """What still differs from the book when the workers have had time to catch up."""
    deadline = asyncio.get_running_loop().time() + CONVERGE_S
    while wrong := await ledger.differences(people, videos):
        if asyncio.get_running_loop().time() > deadline:
            return wrong
        await asyncio.sleep(0.2)
    return []


async def _every_video_is_ready(people: dict[str, ApiClient]) -> None:
    query = "{ viewer { user { videos(first: 100) { edges { node { state failureReason } } } } } }"
    async with asyncio.timeout(60):
        while True:
            states = [
                edge["node"]["state"]
                for client in people.values()
                for edge in (await client.query(query))["viewer"]["user"]["videos"]["edges"]
            ]
            assert "FAILED" not in states
            if set(states) == {"READY"}:
                return
            await asyncio.sleep(0.3)


async def _everything(people: dict[str, ApiClient], videos: list[str]) -> list[object]:
    """What people see that projections hold."""
    query = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Video { likeCount commentCount shareCount viewCount } }
      viewer { notifications(first: 100) { edges { node { id kind actorCount } } }
        user { followerCount followers(first: 100) { edges { node { username } } } likeCount videoCount }
        watchHistory(first: 100) { edges { node { id } } } } }"""
    return [await client.query(query, {"ids": videos}) for client in people.values()]


def _reelgraph(*arguments: str) -> None:
    done = subprocess.run((sys.executable, "-m", "launcher.cli", *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
