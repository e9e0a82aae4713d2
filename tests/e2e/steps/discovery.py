"""Feeds, watches, trending, search and profiles."""

from __future__ import annotations

import asyncio
import uuid

from launcher.demo.client import ApiClient, Json
from tests.e2e.world import World, error_code

FEED = """query ($kind: FeedKind!, $first: Int!, $after: String) { feed(kind: $kind, first: $first, after: $after) {
  snapshotId stale pageInfo { hasNextPage endCursor } edges { cursor reason { kind text } node { id durationMs hashtags
  author { id username } } } } }"""
PER_TOPIC = {"cats": 6, "football": 6, "cooking": 4, "music": 4}


async def a_small_catalogue(world: World) -> None:
    """creators publish twenty clips of four topics"""

    async def publish(topic: str, number: int) -> None:
        path = await world.clip(topic, 100 + number, seconds=1.5, width=270, height=480)
        name = f"{topic} {number}"
        world.videos[name] = await world.publish(f"{topic}_creator", path, f"{name.capitalize()} #{topic}")

    for topic, count in PER_TOPIC.items():
        await world.person(f"{topic}_creator")
        await asyncio.gather(*(publish(topic, number) for number in range(count)))


async def pages(client: ApiClient, kind: str = "FOR_YOU", first: int = 4, limit: int = 20) -> list[Json]:
    """All edges of a feed, page by page."""
    edges: list[Json] = []
    after = None
    for _ in range(limit):
        page = (await client.query(FEED, {"kind": kind, "first": first, "after": after}))["feed"]
        edges += page["edges"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    return edges


async def logged_out(world: World) -> None:
    """a logged-out feed: no page repeats or skips, the same cursor gives the same page, reasons are said"""
    stranger = await world.client("stranger")
    edges = await pages(stranger)
    ids = [edge["node"]["id"] for edge in edges]
    assert len(ids) >= sum(PER_TOPIC.values()) and len(set(ids)) == len(ids), ids
    assert all(edge["reason"]["kind"] and edge["reason"]["text"] for edge in edges)
    first = {"kind": "FOR_YOU", "first": 4, "after": edges[3]["cursor"]}
    one, two = await stranger.query(FEED, first), await stranger.query(FEED, first)
    assert (
        [e["node"]["id"] for e in one["feed"]["edges"]] == [e["node"]["id"] for e in two["feed"]["edges"]] == ids[4:8]
    )
    assert await error_code(stranger, FEED, {"kind": "FOLLOWING", "first": 4}) == "UNAUTHENTICATED"
    for bad in ({"first": 0}, {"first": 1_000_000}, {"after": "nonsense"}):
        assert await error_code(stranger, FEED, {"kind": "FOR_YOU", "first": 4, **bad}) == "BAD_USER_INPUT"
    alice = await world.person("alice")
    assert await error_code(alice, FEED, first) == "BAD_USER_INPUT", "somebody else's cursor was taken"


async def taste(world: World) -> None:
    """after ten watches that show a taste, the next page leans to it, and diversity stays"""
    fan = await world.person("catfan")
    watches = []
    for topic, count in PER_TOPIC.items():
        for number in range(min(count, 3 if topic in ("cats", "football") else 2)):
            likes = topic == "cats"
            watches.append(
                {
                    "watchId": str(uuid.uuid4()),
                    "videoId": world.videos[f"{topic} {number}"],
                    "watchedMs": 1500 if likes else 150,
                    "completed": likes,
                    "skipped": not likes,
                }
            )
    recorded = await fan.mutate("recordWatches", "acceptedCount", watches=watches)
    assert recorded["acceptedCount"] == len(watches)
    again = await fan.mutate("recordWatches", "acceptedCount", watches=watches)
    assert again["acceptedCount"] == len(watches)
    page = (await fan.query(FEED, {"kind": "FOR_YOU", "first": 6, "after": None}))["feed"]["edges"]
    cats = [edge for edge in page if "cats" in edge["node"]["hashtags"]]
    watched = {watch["videoId"] for watch in watches}
    assert not watched & {edge["node"]["id"] for edge in page}, "watched videos come back"
    assert len(cats) >= 2, [edge["node"]["hashtags"] for edge in page]
    assert len({tag for edge in page for tag in edge["node"]["hashtags"]}) >= 2, "nothing but one topic"
    views = await fan.query("query ($id: ID!) { video(id: $id) { viewCount } }", {"id": world.videos["cats 0"]})
    assert views["video"]["viewCount"] == 1


async def following(world: World) -> None:
    """FOLLOWING shows who is followed, newest first; not interested and mute are obeyed"""
    fan, creator = await world.person("catfan"), await world.person("football_creator")
    await fan.mutate("followUser", "user { id }", userId=creator.user_id)
    edges = await pages(fan, "FOLLOWING")
    assert len(edges) == PER_TOPIC["football"] and {e["node"]["author"]["username"] for e in edges} == {
        "football_creator"
    }
    assert {edge["reason"]["kind"] for edge in edges} == {"FOLLOWED"}
    unwanted = world.videos["music 3"]
    await fan.mutate("markNotInterested", "video { id }", videoId=unwanted)
    cook = await world.person("cooking_creator")
    await fan.mutate("muteUser", "user { id }", userId=cook.user_id)
    shown = await pages(fan)
    assert unwanted not in {edge["node"]["id"] for edge in shown}
    assert "cooking_creator" not in {edge["node"]["author"]["username"] for edge in shown}


async def search_and_profile(world: World) -> None:
    """search as you type with typos, profile grid, hashtags, trending"""
    bob = await world.person("bob")
    search = """query ($q: String!, $t: [SearchType!]) { search(query: $q, types: $t, first: 10) { edges { node {
    __typename
      ... on Video { id caption } ... on User { username } ... on Hashtag { name videoCount } } } } }"""

    async def found(text: str, *types: str) -> list[Json]:
        variables = {"q": text, "t": list(types) or None}
        return [edge["node"] for edge in (await bob.query(search, variables))["search"]["edges"]]

    async with asyncio.timeout(15):
        while not await found("footb", "VIDEO"):
            await asyncio.sleep(0.2)
    assert all("football" in node["caption"].lower() for node in await found("footb", "VIDEO"))
    assert await found("footbal", "VIDEO") and await found("fotball", "VIDEO"), "a small typo finds nothing"
    assert any(node["username"] == "football_creator" for node in await found("football_cr", "USER"))
    tags = await found("foot", "HASHTAG")
    assert {"__typename": "Hashtag", "name": "football", "videoCount": PER_TOPIC["football"]} in tags
    profile = """{ user(username: "cats_creator") { videoCount videos(first: 4) { pageInfo { hasNextPage endCursor }
      edges { node { id playback { posterUrl } } } } } }"""
    user = (await bob.query(profile))["user"]
    assert user["videoCount"] == PER_TOPIC["cats"] and user["videos"]["pageInfo"]["hasNextPage"]
    assert len(user["videos"]["edges"]) == 4
    trending = (await bob.query("{ trending(first: 10) { edges { node { id } } } }"))["trending"]["edges"]
    ids = [edge["node"]["id"] for edge in trending]
    assert ids and len(set(ids)) == len(ids)


async def gone(world: World) -> None:
    """a deleted video is gone everywhere, for good; nobody else can delete it"""
    creator, bob, fan = await world.person("music_creator"), await world.person("bob"), await world.person("catfan")
    video = world.videos["music 0"]
    read = "query ($id: ID!) { video(id: $id) { id playback { hlsUrl } } node(id: $id) { id } }"
    url = (await bob.query(read, {"id": video}))["video"]["playback"]["hlsUrl"]
    refused = await bob.raw(
        "mutation ($i: DeleteVideoInput!) { deleteVideo(input: $i) { userErrors { code } } }", {"i": {"videoId": video}}
    )
    assert refused["data"]["deleteVideo"]["userErrors"][0]["code"] == "FORBIDDEN"
    await creator.mutate("deleteVideo", "deletedVideoId", videoId=video)
    for reader in (bob, creator):
        assert await reader.query(read, {"id": video}) == {"video": None, "node": None}
    assert video not in {edge["node"]["id"] for edge in await pages(fan)}
    async with asyncio.timeout(10):
        while (await bob.http.get(url)).status_code == 200:
            await asyncio.sleep(0.2)
        search = '{ search(query: "music 0", types: [VIDEO], first: 20) { edges { node { ... on Video { id } } } } }'
        while video in str(await bob.query(search)):
            await asyncio.sleep(0.2)


STEPS = (a_small_catalogue, logged_out, taste, following, search_and_profile, gone)
