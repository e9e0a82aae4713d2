"""What a walk comes to, the same on every set of engines: the lines of its steps, and what everybody sees at the end.

`outcome.txt` holds it, word for word; a walk that comes to anything else fails. Ids and times are not in it. After a
change of the walk: `OUTCOME=write make smoke`.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.demo.client import ApiClient
from tests.e2e.world import Step, World

GOLDEN = Path(__file__).with_name("outcome.txt")
CONVERGE_S = 30.0
SEEN = """query {
  viewer { notifications(first: 100) { edges { node { kind actorCount } } }
    watchHistory(first: 100) { edges { node { id } } }
    user { followerCount followingCount likeCount videoCount
      followers(first: 100) { edges { node { username } } } } } }"""
VIDEO = """query ($id: ID!) { video(id: $id) {
  state visibility caption likeCount commentCount shareCount viewCount author { username } } }"""


class Different(AssertionError):
    """A walk came to something else; the message is the difference."""


def same(lines: Sequence[str]) -> Step:
    """The step that compares what all steps before it came to, `lines`."""

    async def outcome(world: World) -> None:
        """the steps so far, and what everybody sees now, are word for word what they are on every set of engines"""
        await check(world, lines)

    return outcome


async def check(world: World, steps: Sequence[str]) -> None:
    """Compare with the file, until what is still on its way has arrived. Raises `Different`."""
    if os.environ.get("OUTCOME") == "write":
        await asyncio.sleep(CONVERGE_S / 3)
        await asyncio.to_thread(GOLDEN.write_text, _text(steps, await _seen(world)))
        return
    wanted = await asyncio.to_thread(GOLDEN.read_text)
    until = asyncio.get_running_loop().time() + CONVERGE_S
    while (found := _text(steps, await _seen(world))) != wanted:
        if asyncio.get_running_loop().time() > until:
            lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), GOLDEN.name, "this walk", lineterm="")
            raise Different("\n".join(["the walk came to something else:", *lines]))
        await asyncio.sleep(0.3)


def _text(steps: Sequence[str], seen: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (*steps, "", *seen))


async def _seen(world: World) -> list[str]:
    names = {id_: name for name, id_ in world.videos.items()}
    people = [f"{name}: {await _person(client, names)}" for name, client in sorted(world.people.items())]
    anybody = await world.client("a-guest")
    return [*people, *[f"{name}: {await _video(anybody, id_)}" for name, id_ in sorted(world.videos.items())]]


async def _person(client: ApiClient, names: dict[str, str]) -> str:
    answer = await client.raw(SEEN)
    if answer.get("errors"):
        return _code(answer)
    viewer = answer["data"]["viewer"]
    user = viewer["user"]
    told = Counter(f"{node['kind']} of {node['actorCount']}" for node in _nodes(viewer["notifications"]))
    followers = sorted(node["username"] for node in _nodes(user["followers"]))
    watched = Counter(names.get(node["id"], "another") for node in _nodes(viewer["watchHistory"]))
    counts = {name: user[name] for name in ("followerCount", "followingCount", "likeCount", "videoCount")}
    return f"{counts} followers={followers} told={sorted(told.items())} watched={sorted(watched.items())}"


async def _video(client: ApiClient, id_: str) -> str:
    answer = await client.raw(VIDEO, {"id": id_})
    return _code(answer) if answer.get("errors") else str(answer["data"]["video"])


def _code(answer: Any) -> str:
    return str(answer["errors"][0]["extensions"]["code"])


def _nodes(connection: Any) -> list[Any]:
    return [edge["node"] for edge in connection["edges"]]
