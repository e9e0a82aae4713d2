"""Nodes of every type, profiles, lists and search."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.ids import GlobalId, Kind, decode, encode, encode_name
from gateway.settings import GatewaySettings
from tests.support.gateway_fakes import Bench, gateway_over_fakes


async def test_every_type_is_found_by_its_id_and_only_by_those_who_may(bench: Bench) -> None:
    world = bench.world
    ada = world.add_user("ada")
    me, other = bench.log_in(world.add_user("me").id), bench.log_in(world.add_user("other").id)
    video = world.add_video(ada.id, "clip #dance")
    hidden = world.add_video(ada.id, "secret", visibility=3)
    comment, upload = world.add_comment(video.id, ada.id, "hi"), world.add_upload(me.id)
    fact = world.notify(me.id, 4, ada.id)
    public = [encode(Kind.USER, ada.id), encode(Kind.VIDEO, video.id), encode(Kind.COMMENT, comment.id)]
    public.append(encode_name(Kind.HASHTAG, "dance"))
    private = [encode(Kind.UPLOAD, upload.id), encode(Kind.NOTIFICATION, fact.id)]
    private += [encode(Kind.SESSION, me.session_id), encode(Kind.VIEWER, me.id)]
    nowhere = [encode(Kind.VIDEO, hidden.id), encode(Kind.VIDEO, 4711), "nonsense", "", encode_name(Kind.HASHTAG, "x")]
    wanted = [*public, *private, *nowhere]
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
    types = ["User", "Video", "Comment", "Hashtag", "Upload", "Notification", "Session", "Viewer"]

    mine = (await bench.data(text, {"ids": wanted}, me.token))["nodes"]
    theirs = (await bench.data(text, {"ids": wanted}, other.token))["nodes"]
    nobodys = (await bench.data(text, {"ids": wanted}))["nodes"]

    assert [node and node["__typename"] for node in mine] == [*types, *[None] * len(nowhere)]
    assert [node["id"] for node in mine[:8]] == wanted[:8]
    for seen in (theirs, nobodys):
        assert [node and node["__typename"] for node in seen] == [*types[:4], *[None] * (4 + len(nowhere))]
    for node_id, name in zip(wanted[:8], types, strict=True):
        data = await bench.data("query($id: ID!) { node(id: $id) { __typename } }", {"id": node_id}, me.token)
        assert data["node"]["__typename"] == name


async def test_more_than_100_nodes_are_bad_user_input(bench: Bench) -> None:
    body = await bench.query("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 101})

    assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_one_service_down_takes_only_its_own_nodes(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    bench.world.down.add("BatchGetAccounts")
    given = {"ids": [encode(Kind.USER, ada.id), encode(Kind.VIDEO, video.id)]}

    body = await bench.query("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", given)

    assert body["data"]["nodes"] == [None, {"id": given["ids"][1]}]
    assert [(e["path"], e["extensions"]["code"]) for e in body["errors"]] == [(["nodes", 0], "UNAVAILABLE")]


async def test_a_service_that_hangs_takes_only_its_own_fields(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    settings = GatewaySettings(request_timeout_s=3)
    async with gateway_over_fakes(tmp_path, settings=settings, without=frozenset({"graph"})) as bench:
        video = bench.world.add_video(bench.world.add_user("ada").id, "still here")
        server = await asyncio.start_unix_server(silent, str(bench.platform.sockets / "graph.sock"))
        query = """query ($id: ID!) { video(id: $id) { caption likeCount author { username followerCount }
          comments(first: 2) { edges { node { text author { username } } } } } }"""
        answer = (await bench.post(query, {"id": encode(Kind.VIDEO, video.id)})).json()
        server.close()

    shown = {"caption": "still here", "likeCount": None, "author": None, "comments": None}
    assert answer["data"] == {"video": shown}
    assert {error["extensions"]["code"] for error in answer["errors"]} <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


async def test_a_profile_with_its_grid_and_lists(bench: Bench) -> None:
    world = bench.world
    ada, bob = world.add_user("ada"), world.add_user("bob")
    me = bench.log_in(world.add_user("me").id)
    videos = [world.add_video(ada.id, f"clip {number}") for number in range(3)]
    world.add_video(ada.id, "secret", visibility=3)
    world.likes[videos[0].id] = {me.id, bob.id}
    world.follows |= {(me.id, ada.id), (ada.id, bob.id), (bob.id, ada.id)}
    text = """query($after: String) { user(username: "ADA") {
      username bio avatarUrl followerCount followingCount videoCount likeCount viewerFollows followsViewer
      videos(first: 2, after: $after) { edges { node { caption } } pageInfo { hasNextPage endCursor } }
      followers { edges { node { username } } } following { edges { node { username } } } } }"""

    user = (await bench.data(text, token=me.token))["user"]

    assert user["username"] == "ada"
    assert (user["bio"], user["avatarUrl"]) == ("hi", None)
    assert [user[name] for name in ("followerCount", "followingCount", "videoCount", "likeCount")] == [2, 1, 3, 2]
    assert (user["viewerFollows"], user["followsViewer"]) == (True, False)
    assert [edge["node"]["caption"] for edge in user["videos"]["edges"]] == ["clip 2", "clip 1"]
    assert {edge["node"]["username"] for edge in user["followers"]["edges"]} == {"me", "bob"}
    assert [edge["node"]["username"] for edge in user["following"]["edges"]] == ["bob"]
    rest = (await bench.data(text, {"after": user["videos"]["pageInfo"]["endCursor"]}, me.token))["user"]["videos"]
    assert [edge["node"]["caption"] for edge in rest["edges"]] == ["clip 0"]
    assert rest["pageInfo"]["hasNextPage"] is False
    assert (await bench.data('{ user(username: "nobody") { id } }'))["user"] is None


async def test_what_only_the_viewer_sees(bench: Bench) -> None:
    world = bench.world
    ada = world.add_user("ada")
    me = bench.log_in(world.add_user("me").id)
    videos = [world.add_video(ada.id, f"clip {number}") for number in range(2)]
    comment = world.add_comment(videos[0].id, ada.id, "hi")
    world.notify(me.id, 2, ada.id, videos[0].id).comment_id = comment.id
    world.watched[me.id] = [videos[1].id, videos[0].id]
    world.videos[videos[1].id].visibility = 3  # type: ignore[assignment]
    text = """{ viewer { id user { username } unreadNotificationCount sessions { id current }
      notifications { edges { node { kind read actorCount actors { username } video { caption } comment { text } } } }
      watchHistory { edges { node { caption } } } suggestedUsers(first: 1) { edges { node { username } } } } }"""

    viewer = (await bench.data(text, token=me.token))["viewer"]

    assert viewer["user"] == {"username": "me"}
    assert viewer["unreadNotificationCount"] == 1
    assert viewer["sessions"] == [{"id": encode(Kind.SESSION, me.session_id), "current": True}]
    assert viewer["notifications"]["edges"][0]["node"] == {
        "kind": "COMMENT",
        "read": False,
        "actorCount": 1,
        "actors": [{"username": "ada"}],
        "video": {"caption": "clip 0"},
        "comment": {"text": "hi"},
    }
    assert [edge["node"]["caption"] for edge in viewer["watchHistory"]["edges"]] == ["clip 0"]
    assert [edge["node"]["username"] for edge in viewer["suggestedUsers"]["edges"]] == ["ada"]


async def test_comments_and_replies(bench: Bench) -> None:
    world = bench.world
    ada = world.add_user("ada")
    video = world.add_video(ada.id)
    first, second = (world.add_comment(video.id, ada.id, text) for text in ("one", "two"))
    world.add_comment(video.id, ada.id, "re: one", first.id)
    world.comments[second.id].ClearField("text")
    text = """query($id: ID!) { video(id: $id) { commentCount comments(first: 5) { edges { node {
      text replyCount viewerHasLiked
      replies { edges { node { text parent { text } replies { edges { cursor } } } } } } } } } }"""

    found = (await bench.data(text, {"id": encode(Kind.VIDEO, video.id)}))["video"]

    assert found["commentCount"] == 2
    top = [edge["node"] for edge in found["comments"]["edges"]]
    assert [(node["text"], node["replyCount"], node["viewerHasLiked"]) for node in top] == [
        (None, 0, None),
        ("one", 1, None),
    ]
    reply = top[1]["replies"]["edges"][0]["node"]
    assert reply == {"text": "re: one", "parent": {"text": "one"}, "replies": {"edges": []}}


async def test_search_trending_and_hashtags(bench: Bench) -> None:
    world = bench.world
    dancer = world.add_user("dancer")
    video = world.add_video(dancer.id, "to dance #dance")
    gone = world.add_video(dancer.id, "dance too")
    text = """query($types: [SearchType!]) { search(query: "dance", types: $types) { edges { node { __typename
      ... on Video { caption } ... on User { username } ... on Hashtag { id name videoCount } } } } }"""
    world.blocks.add((1, dancer.id))

    found = (await bench.data(text))["search"]["edges"]
    assert [edge["node"]["__typename"] for edge in found] == ["Video", "Video", "User", "Hashtag"]
    hashtag = found[3]["node"]
    assert (hashtag["name"], hashtag["videoCount"]) == ("dance", 1)
    only = (await bench.data(text, {"types": ["USER"]}))["search"]["edges"]
    assert [edge["node"]["username"] for edge in only] == ["dancer"]
    del world.videos[gone.id]
    trending = (await bench.data("{ trending { edges { node { caption } } pageInfo { hasNextPage } } }"))["trending"]
    assert [edge["node"]["caption"] for edge in trending["edges"]] == [video.caption]
    node = "query($id: ID!) { node(id: $id) { ... on Hashtag { name videos { edges { node { caption } } } } } }"
    tag = (await bench.data(node, {"id": hashtag["id"]}))["node"]
    assert tag == {"name": "dance", "videos": {"edges": [{"node": {"caption": "to dance #dance"}}]}}


async def test_an_upload_is_its_owners_alone(bench: Bench) -> None:
    me, other = (bench.log_in(bench.world.add_user(name).id) for name in ("me", "other"))
    upload = bench.world.add_upload(me.id)
    text = (
        "query($id: ID!) { upload(id: $id) { state sizeBytes partSizeBytes progressPercent expiresAt video { id } } }"
    )
    given = {"id": encode(Kind.UPLOAD, upload.id)}

    assert (await bench.data(text, given, me.token))["upload"]["partSizeBytes"] == 5 << 20
    assert (await bench.data(text, given, other.token))["upload"] is None
    assert (await bench.data(text, given))["upload"] is None


def test_ids_are_url_safe_canonical_and_say_their_kind() -> None:
    for number in (1, 2**63 - 1, 0xFBFFBF):
        text = encode(Kind.VIDEO, number)
        assert decode(text) == GlobalId(Kind.VIDEO, number)
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert decode(encode_name(Kind.HASHTAG, "tänze")) == GlobalId(Kind.HASHTAG, name="tänze")
    whole = encode(Kind.USER, 7)
    for bad in (
        "",
        "AA",
        "!",
        whole + "=",
        whole[:-1],
        whole + "A",
        "é",
        "A" * 700,
        encode(Kind.VIDEO, 0),
        "CQAAAAAAAAAB",
    ):
        assert decode(bad) is None, bad
