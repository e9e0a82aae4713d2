"""Reading the whole log again, and making every projection anew, changes nothing that anybody can see."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher.demo.client import ApiClient
from launcher.rebuild import rebuild_projection
from launcher.replay import replay_group
from launcher.serve import serving
from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES
from svc_kit.clock import SystemClock
from svc_kit.settings import PlatformSettings
from tests.e2e.instance import Instance
from tests.e2e.world import PASSWORD, World, open_world

PEOPLE = ("ann", "ben", "cat")
SETTLED_S = 30.0
SEEN = """query ($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Video { likeCount commentCount shareCount viewCount state hashtags viewerHasLiked
    comments(first: 50) { edges { node { id text likeCount replies(first: 10) { edges { node { id text } } } } } } } }
  trending(first: 50) { edges { node { id } } }
  words: search(query: "kitten", first: 50) { edges { node { ... on Video { id } } } }
  tags: search(query: "cat", types: [HASHTAG], first: 50) { edges { node { ... on Hashtag { name videoCount } } } }
  users: search(query: "be", types: [USER], first: 50) { edges { node { ... on User { username } } } }
  following: feed(kind: FOLLOWING, first: 50) { edges { node { id } } }
  viewer {
    unreadNotificationCount
    notifications(first: 100) { edges { node { id kind actorCount read createdAt actors { username } } } }
    suggestedUsers(first: 20) { edges { node { username } } }
    watchHistory(first: 100) { edges { node { id } } }
    user { followerCount followingCount likeCount videoCount
      followers(first: 100) { edges { node { username } } } following(first: 100) { edges { node { username } } } }
  }
}"""


@pytest.mark.timeout(180)
async def test_every_rebuild_and_every_replay_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Equal matches are ordered by popularity, which the index takes up now and then, and a rebuild at once.
    monkeypatch.setenv("REELGRAPH_FEED_SEARCH_POPULARITY_REFRESH_S", "0.5")
    settings = PlatformSettings(data_dir=tmp_path / "data")
    async with _served(settings, tmp_path) as world:
        videos = await _live(world)
        await _settled(settings)
        before = await _steady(world, videos)

    await rebuild_projection(settings, "list")
    await replay_group(settings, "list", 0)
    names = set(capsys.readouterr().out.split())
    assert {"follow_graph", "engagement_counters", "search", "features", "inboxes"} <= names
    assert {"graph.counters", "graph.notifications", "feed.counters", "feed.search", "rank.features"} <= names

    await rebuild_projection(settings, "all")
    async with _served(settings, tmp_path) as world:
        assert _differences(before, await _steady(world, videos)) == [], "a rebuild changed something"

    await replay_group(settings, "all", 0)
    async with _served(settings, tmp_path) as world:
        await _settled(settings)
        assert _differences(before, await _steady(world, videos)) == [], "a replay changed something"


@asynccontextmanager
async def _served(settings: PlatformSettings, folder: Path) -> AsyncIterator[World]:
    async with serving(settings, {"all"}, "127.0.0.1", 0, 0) as address:
        # The process is this one: of an instance only its addresses are used.
        instance: Any = Instance(None, f"{address.http}/graphql", address.grpc_port, settings.data_dir)  # type: ignore[arg-type]
        async with open_world(instance, folder) as world:
            yield world


async def _live(world: World) -> list[str]:
    """Everything that counts, notifies, lists or hides; the videos that are left."""
    ann, ben, cat = [await world.person(name) for name in PEOPLE]
    clips = [await world.clip("cats", seed, seconds=1, width=90, height=160) for seed in range(3)]
    videos = [await world.publish("ann", clip, f"kitten {i} #cats #n{i}") for i, clip in enumerate(clips[:2])]
    gone = await world.publish("ben", clips[2], "kitten to be deleted #cats")
    for person in (ben, cat):
        await person.mutate("followUser", "user { id }", userId=ann.user_id)
        for video in videos:
            await person.mutate("likeVideo", "video { id }", videoId=video)
        watches = [{"watchId": str(uuid.uuid4()), "videoId": video, "watchedMs": 1000} for video in videos]
        await person.mutate("recordWatches", "acceptedCount", watches=watches)
        comment = await _comment(person, videos[0], "hello @ann")
        await ann.mutate("likeComment", "comment { id }", commentId=comment)
        await _comment(ann, videos[0], "welcome", parentId=comment)
        await person.mutate("shareVideo", "video { id }", videoId=videos[1], channel="LINK")
    await ben.mutate("unlikeVideo", "video { id }", videoId=videos[1])
    await cat.mutate("deleteComment", "deletedCommentId", commentId=comment)
    await cat.mutate("markNotInterested", "video { id }", videoId=gone)
    await ann.mutate("followUser", "user { id }", userId=ben.user_id)
    await ann.mutate("unfollowUser", "user { id }", userId=ben.user_id)
    await cat.mutate("blockUser", "user { id }", userId=ben.user_id)
    await ben.mutate("deleteVideo", "deletedVideoId", videoId=gone)
    return videos


async def _comment(person: ApiClient, video: str, text: str, **fields: Any) -> str:
    payload = await person.mutate("addComment", "comment { id }", videoId=video, text=text, **fields)
    return str(payload["comment"]["id"])


async def _steady(world: World, videos: list[str]) -> list[object]:
    """What people see once it has stayed the same for longer than anything is cached."""
    async with asyncio.timeout(SETTLED_S):
        found = await _seen(world, videos)
        while True:
            await asyncio.sleep(3)
            before, found = found, await _seen(world, videos)
            if before == found:
                return found


async def _seen(world: World, videos: list[str]) -> list[object]:
    found: list[object] = []
    for name in PEOPLE:
        client = await world.client(name)
        await client.log_in(name, PASSWORD)
        found.append(await client.query(SEEN, {"ids": videos}))
    return found


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Paths and values that are not the same, for the message."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in before for line in _differences(before[key], after[key], f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (a, b) in pairs for line in _differences(a, b, f"{path}[{i}]")]
    return [] if before == after else [f"{path}: {before} became {after}"]


async def _settled(settings: PlatformSettings) -> None:
    """Return when every group has read all that there is, twice in a row: handling an event may cause another."""
    url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
    bus = await resolve("REELGRAPH_BUS_URL", url, SCHEMES).open(url, SystemClock())
    quiet = 0
    try:
        async with asyncio.timeout(SETTLED_S):
            while quiet < 2:
                groups = await bus.groups()
                # The archive commits in batches of a minute; nobody sees it.
                behind = [await bus.lag(group, topics) for group, topics in groups.items() if group != "feed.archive"]
                quiet = 0 if any(behind) else quiet + 1
                await asyncio.sleep(0.5)
    finally:
        await bus.close()
