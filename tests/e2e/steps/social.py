"""Likes, comments, shares, follows, blocks, mutes; counters; idempotency keys; notifications."""

from __future__ import annotations

import asyncio
import secrets

from launcher.demo.client import ApiClient, Json
from tests.e2e.world import World, error_code, eventually, user_error

VIDEO = "video { id likeCount commentCount shareCount viewerHasLiked }"
READ = f"query ($id: ID!) {{ {VIDEO.replace('video', 'video(id: $id)')} }}"
USER = "user { id followerCount viewerFollows }"


async def _video(client: ApiClient, video_id: str) -> Json:
    found: Json = (await client.query(READ, {"id": video_id}))["video"]
    return found


async def _count(client: ApiClient, video_id: str, name: str, wanted: int) -> None:
    """The count as the client sees it, once what others did has reached it."""

    async def read() -> int:
        return int((await _video(client, video_id))[name])

    await eventually(read, wanted)


async def _followers(client: ApiClient, username: str, wanted: int) -> None:
    async def read() -> int:
        query = "query ($name: String!) { user(username: $name) { followerCount } }"
        return int((await client.query(query, {"name": username}))["user"]["followerCount"])

    await eventually(read, wanted)


async def likes(world: World) -> None:
    """likes count once, are read back at once, and replay by key"""
    bob, cat = await world.person("bob"), world.videos["cat"]
    key = secrets.token_hex(16)
    first = (await bob.mutate("likeVideo", VIDEO, videoId=cat, idempotencyKey=key))["video"]
    assert first["likeCount"] == 1 and first["viewerHasLiked"]
    assert (await bob.mutate("likeVideo", VIDEO, videoId=cat))["video"]["likeCount"] == 1
    assert (await _video(bob, cat))["likeCount"] == 1
    assert (await bob.mutate("unlikeVideo", VIDEO, videoId=cat))["video"]["likeCount"] == 0
    replay = (await bob.mutate("likeVideo", VIDEO, videoId=cat, idempotencyKey=key))["video"]
    assert replay["likeCount"] == 1, "a replay answers as at first"
    assert (await _video(bob, cat))["likeCount"] == 0, "a replay changes nothing"
    other = world.videos.get("other", cat[:-1] + ("A" if cat[-1] != "A" else "B"))
    assert (await user_error(bob, "likeVideo", VIDEO, videoId=other, idempotencyKey=key))[0] in (
        "KEY_REUSED",
        "NOT_FOUND",
    )
    await bob.mutate("likeVideo", VIDEO, videoId=cat)
    carol = await world.person("carol")
    await carol.mutate("likeVideo", VIDEO, videoId=cat)
    await _count(carol, cat, "likeCount", 2)
    stranger = await world.client()
    assert (
        await error_code(stranger, f'mutation {{ likeVideo(input: {{videoId: "{cat}"}}) {{ {VIDEO} }} }}')
        == "UNAUTHENTICATED"
    )


async def comments(world: World) -> None:
    """comments, replies, their likes and deletion"""
    alice, bob, cat = await world.person("alice"), await world.person("bob"), world.videos["cat"]
    fields = "comment { id text author { username } parent { id } likeCount }"
    key = secrets.token_hex(16)
    comment = (await bob.mutate("addComment", fields, videoId=cat, text="What a cat, @alice!", idempotencyKey=key))[
        "comment"
    ]
    same = (await bob.mutate("addComment", fields, videoId=cat, text="What a cat, @alice!", idempotencyKey=key))[
        "comment"
    ]
    assert same["id"] == comment["id"]
    assert (await user_error(bob, "addComment", fields, videoId=cat, text="Other", idempotencyKey=key))[
        0
    ] == "KEY_REUSED"
    reply = (await alice.mutate("addComment", fields, videoId=cat, text="Thanks!", parentId=comment["id"]))["comment"]
    assert reply["parent"]["id"] == comment["id"]
    liked = await alice.mutate("likeComment", "comment { likeCount viewerHasLiked }", commentId=comment["id"])
    assert liked["comment"] == {"likeCount": 1, "viewerHasLiked": True}
    await _count(bob, cat, "commentCount", 2)
    empty = await user_error(bob, "addComment", fields, videoId=cat, text="   ")
    long = await user_error(bob, "addComment", fields, videoId=cat, text="x" * 10_000)
    assert empty[1] == ["text"] and long == ("TOO_LONG", ["text"])
    carol = await world.person("carol")
    assert (await user_error(carol, "deleteComment", "deletedCommentId", commentId=comment["id"]))[0] == "FORBIDDEN"
    await bob.mutate("deleteComment", "deletedCommentId", commentId=comment["id"])
    listed = await alice.query(
        "query ($id: ID!) { video(id: $id) { comments(first: 10) { edges { node { text replies(first: 5) "
        "{ edges { node { text } } } } } } } }",
        {"id": cat},
    )
    nodes = [edge["node"] for edge in listed["video"]["comments"]["edges"]]
    assert nodes[0]["text"] is None and nodes[0]["replies"]["edges"][0]["node"]["text"] == "Thanks!"
    await _count(bob, cat, "commentCount", 1)


async def shares(world: World) -> None:
    """a share counts and gives a link that opens"""
    bob, cat = await world.person("bob"), world.videos["cat"]
    shared = await bob.mutate("shareVideo", f"{VIDEO} shareUrl", videoId=cat, channel="LINK")
    assert shared["video"]["shareCount"] == 1
    assert (await bob.http.get(shared["shareUrl"])).status_code == 200


async def follows(world: World) -> None:
    """follow, unfollow, mute, block; not oneself"""
    alice, bob, dave = await world.person("alice"), await world.person("bob"), await world.person("dave")
    followed = (await bob.mutate("followUser", USER, userId=alice.user_id))["user"]
    assert followed == {"id": alice.user_id, "followerCount": 1, "viewerFollows": True}
    await bob.mutate("followUser", USER, userId=alice.user_id)
    read = await bob.query('{ user(username: "alice") { followerCount viewerFollows } }')
    assert read["user"] == {"followerCount": 1, "viewerFollows": True}
    assert (await user_error(bob, "followUser", USER, userId=bob.user_id))[1] == ["userId"]
    await dave.mutate("followUser", USER, userId=alice.user_id)
    await alice.mutate("blockUser", "user { id }", userId=dave.user_id)
    seen = await dave.query(
        "query ($id: ID!) { video(id: $id) { id } node(id: $id) { id } }", {"id": world.videos["cat"]}
    )
    assert seen == {"video": None, "node": None}, "a blocked viewer sees the video"
    assert (await user_error(dave, "likeVideo", VIDEO, videoId=world.videos["cat"]))[0] == "NOT_FOUND"
    assert (await user_error(dave, "followUser", USER, userId=alice.user_id))[0] == "NOT_FOUND"
    await _followers(bob, "alice", 1)
    await alice.mutate("unblockUser", "user { id }", userId=dave.user_id)
    await bob.mutate("muteUser", "user { id }", userId=dave.user_id)
    await bob.mutate("unmuteUser", "user { id }", userId=dave.user_id)
    await dave.mutate("followUser", USER, userId=alice.user_id)
    await _followers(dave, "alice", 2)
    assert (await dave.mutate("unfollowUser", USER, userId=alice.user_id))["user"]["followerCount"] == 1


async def notifications(world: World) -> None:
    """likes, comments and follows notify their receiver, once; unread count and mark-read"""
    alice = await world.person("alice")
    query = """{ viewer { unreadNotificationCount notifications(first: 20) { edges { node
      { id kind actorCount read actors { username } video { id } } } } } }"""
    async with asyncio.timeout(10):
        while True:
            viewer = (await alice.query(query))["viewer"]
            nodes = [edge["node"] for edge in viewer["notifications"]["edges"]]
            kinds = {node["kind"]: node for node in nodes}
            told = {"LIKE", "FOLLOW", "VIDEO_READY"} <= set(kinds) and kinds["LIKE"]["actorCount"] == 2
            # The list and the number are read one after the other: something may come between.
            if told and viewer["unreadNotificationCount"] == len(nodes):
                break
            await asyncio.sleep(0.1)
    assert kinds["LIKE"]["actorCount"] == 2 and {"bob", "carol"} == {a["username"] for a in kinds["LIKE"]["actors"]}
    assert viewer["unreadNotificationCount"] == len(nodes) and not any(node["read"] for node in nodes)
    by_node = await alice.query("query ($id: ID!) { node(id: $id) { id __typename } }", {"id": nodes[0]["id"]})
    assert by_node["node"]["__typename"] == "Notification"

    async def mark() -> int:
        newest = (await alice.query(query))["viewer"]["notifications"]["edges"][0]["node"]["id"]
        fields = "viewer { unreadNotificationCount }"
        marked = await alice.mutate("markNotificationsRead", fields, upToId=newest)
        return int(marked["viewer"]["unreadNotificationCount"])

    await eventually(mark, 0)


STEPS = (likes, comments, shares, follows, notifications)
