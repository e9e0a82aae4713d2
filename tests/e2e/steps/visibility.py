"""Nobody sees what they may not, on any path: GraphQL reads, lists, search, mutations, subscriptions, gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import grpc

from launcher.demo.client import ApiClient, RequestFailed
from reelgraph.feed.v1 import search_pb2, search_pb2_grpc
from reelgraph.graph.v1 import engagement_pb2, engagement_pb2_grpc
from reelgraph.media.v1 import uploads_pb2, uploads_pb2_grpc, videos_pb2, videos_pb2_grpc
from tests.e2e.sockets import open_socket
from tests.e2e.steps.discovery import pages
from tests.e2e.world import World

Metadata = tuple[tuple[str, str], ...]
SECRET = "zxqsecret"


async def prepare(world: World) -> None:
    """a private video, one for followers, and one of an author who blocks"""
    owner, fan, blocked = [await world.person(n) for n in ("owner", "owner_fan", "owner_foe")]
    await fan.mutate("followUser", "user { id }", userId=owner.user_id)
    await blocked.mutate("followUser", "user { id }", userId=owner.user_id)
    for seed, visibility in enumerate(("PUBLIC", "FOLLOWERS", "PRIVATE")):
        path = await world.clip("coding", 300 + seed, seconds=1, width=90, height=160)
        caption = f"{SECRET} {visibility.lower()} #{SECRET}{visibility.lower()}"
        world.videos[visibility] = await world.publish("owner", path, caption, visibility=visibility)
        await owner.mutate("addComment", "comment { id }", videoId=world.videos[visibility], text="by the owner")
    await owner.mutate("blockUser", "user { id }", userId=blocked.user_id)


async def every_path(world: World) -> None:
    """who may see which video, walked over every GraphQL path"""
    owner, fan, foe, other = [await world.person(n) for n in ("owner", "owner_fan", "owner_foe", "bob")]
    stranger = await world.client("visibility-stranger")
    may = {"PUBLIC": {"owner", "fan", "other", "stranger"}, "FOLLOWERS": {"owner", "fan"}, "PRIVATE": {"owner"}}
    readers = {"owner": owner, "fan": fan, "foe": foe, "other": other, "stranger": stranger}
    for visibility, allowed in may.items():
        for name, reader in readers.items():
            for path, sees in PATHS.items():
                seen = await sees(reader, world.videos[visibility], f"{SECRET}{visibility.lower()}")
                where = f"{name} {path} {visibility}"
                if name not in allowed:
                    assert not seen, f"{where}: seen"
                elif path in ALWAYS or (visibility == "PUBLIC" and path in EVERYBODY and name != "owner"):
                    assert seen or path in ("FOR_YOU", "trending"), f"{where}: not seen"


async def _field(reader: ApiClient, query: str, video: str) -> bool:
    return video in str((await reader.raw(query, {"id": video}))["data"])


async def _by_video(reader: ApiClient, video: str, _tag: str) -> bool:
    return await _field(reader, "query ($id: ID!) { video(id: $id) { id caption } }", video)


async def _by_node(reader: ApiClient, video: str, _tag: str) -> bool:
    return await _field(reader, "query ($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }", video)


async def _by_profile(reader: ApiClient, video: str, _tag: str) -> bool:
    query = '{ user(username: "owner") { videos(first: 100) { edges { node { id } } } } }'
    return await _field(reader, query, video)


async def _by_search(reader: ApiClient, video: str, tag: str) -> bool:
    query = f"""{{ search(query: "{tag}", first: 50) {{ edges {{ node {{ __typename ... on Video {{ id }}
      ... on Hashtag {{ videos(first: 10) {{ edges {{ node {{ id }} }} }} }} }} }} }} }}"""
    return await _field(reader, query, video)


async def _by_trending(reader: ApiClient, video: str, _tag: str) -> bool:
    return await _field(reader, "{ trending(first: 100) { edges { node { id } } } }", video)


async def _by_for_you(reader: ApiClient, video: str, _tag: str) -> bool:
    return video in {edge["node"]["id"] for edge in await pages(reader, first=50)}


async def _by_following(reader: ApiClient, video: str, _tag: str) -> bool:
    return bool(reader.token) and video in {edge["node"]["id"] for edge in await pages(reader, "FOLLOWING", first=50)}


async def _by_comments(reader: ApiClient, video: str, _tag: str) -> bool:
    query = "query ($id: ID!) { video(id: $id) { comments(first: 10) { edges { node { text } } } } }"
    return "by the owner" in str(await reader.raw(query, {"id": video}))


async def _by_mutations(reader: ApiClient, video: str, _tag: str) -> bool:
    """Each answers NOT_FOUND where the video may not be seen; what succeeds is taken back."""
    if not reader.token:
        return False
    outcomes: set[str] = set()
    for name, fields, more in (
        ("likeVideo", "video { id }", {}),
        ("shareVideo", "shareUrl", {"channel": "LINK"}),
        ("addComment", "comment { id }", {"text": "hello"}),
        ("markNotInterested", "video { id }", {}),
    ):
        if name == "markNotInterested" and outcomes != {"NOT_FOUND"}:
            continue  # it would hide the video from the reader's own feed below
        try:
            payload = await reader.mutate(name, fields, videoId=video, **more)
            if name == "addComment":
                await reader.mutate("deleteComment", "deletedCommentId", commentId=payload["comment"]["id"])
            outcomes.add("OK")
        except RequestFailed as error:
            outcomes |= set(error.codes)
    assert outcomes in ({"OK"}, {"NOT_FOUND"}), outcomes
    return outcomes == {"OK"}


PATHS: dict[str, Callable[[ApiClient, str, str], Awaitable[bool]]] = {
    "video": _by_video,
    "node": _by_node,
    "profile": _by_profile,
    "search": _by_search,
    "trending": _by_trending,
    "FOR_YOU": _by_for_you,
    "FOLLOWING": _by_following,
    "comments": _by_comments,
    "mutations": _by_mutations,
}
ALWAYS = {"video", "node", "profile", "comments"}
EVERYBODY = {"search", "trending", "FOR_YOU"}


async def over_subscriptions(world: World) -> None:
    """authorization is checked for each event: a block in between ends what a socket gets"""
    owner, other, video = await world.person("owner"), await world.person("frank"), world.videos["PUBLIC"]
    query = "subscription ($id: ID!) { commentAdded(videoId: $id) { text } }"
    async with open_socket(world.url, other.token) as socket:
        operation = await socket.subscribe(query, {"id": video})
        await asyncio.sleep(0.3)
        await owner.mutate("addComment", "comment { id }", videoId=video, text="seen")
        assert await operation.next() == {"commentAdded": {"text": "seen"}}
        await owner.mutate("blockUser", "user { id }", userId=other.user_id)
        await owner.mutate("addComment", "comment { id }", videoId=video, text="not seen")
        assert not await _delivers(operation, "not seen")
        hidden = await socket.subscribe(query, {"id": world.videos["PRIVATE"]})
        await owner.mutate("addComment", "comment { id }", videoId=world.videos["PRIVATE"], text="private")
        assert not await _delivers(hidden, "private")


async def _delivers(operation: object, text: str) -> bool:
    try:
        async with asyncio.timeout(1.5):
            while True:
                data = await operation.next()  # type: ignore[attr-defined]
                if data is None:
                    return False
                if text in str(data):
                    return True
    except (TimeoutError, AssertionError):
        return False


async def over_grpc(world: World) -> None:
    """the same over gRPC: with no token, another user's, and a forged one"""
    owner, other, foe = await world.person("owner"), await world.person("bob"), await world.person("owner_foe")
    head, body, signature = owner.token.split(".")
    forged = f"{head}.{body}.{signature[::-1]}"
    async with AsyncExitStack() as stack:
        media, graph, feed = [
            await stack.enter_async_context(world.instance.channel(service)) for service in ("media", "graph", "feed")
        ]
        videos = videos_pb2_grpc.VideoServiceStub(media)
        own = await videos.ListAuthorVideos(
            videos_pb2.ListAuthorVideosRequest(author_id=_subject(owner.token)), metadata=_as(owner.token), timeout=5
        )
        ids = {videos_pb2.Visibility.Name(e.video.visibility): e.video.id for e in own.entries}
        request = videos_pb2.BatchGetVideosRequest(ids=list(ids.values()))
        for metadata, expected in (
            (_as(owner.token), {"VISIBILITY_PUBLIC", "VISIBILITY_FOLLOWERS", "VISIBILITY_PRIVATE"}),
            (_as(other.token), {"VISIBILITY_PUBLIC"}),
            (_as(foe.token), set()),
            ((), {"VISIBILITY_PUBLIC"}),
        ):
            answer = await videos.BatchGetVideos(request, metadata=metadata, timeout=5)
            assert {video.id for video in answer.videos} == {ids[name] for name in expected}
        await _refused(videos.BatchGetVideos(request, metadata=_as(forged), timeout=5), grpc.StatusCode.UNAUTHENTICATED)
        claimed = (*_as(other.token), ("x-reelgraph-viewer", str(_subject(owner.token))))
        await _refused(videos.BatchGetVideos(request, metadata=claimed, timeout=5), grpc.StatusCode.UNAUTHENTICATED)
        unfiltered = videos_pb2.BatchGetVideosRequest(ids=list(ids.values()), unfiltered=True)
        await _refused(
            videos.BatchGetVideos(unfiltered, metadata=_as(other.token), timeout=5), grpc.StatusCode.PERMISSION_DENIED
        )
        comments = engagement_pb2_grpc.EngagementServiceStub(graph)
        like = engagement_pb2.LikeVideoRequest(video_id=ids["VISIBILITY_PRIVATE"])
        await _refused(comments.LikeVideo(like, metadata=_as(other.token), timeout=5), grpc.StatusCode.NOT_FOUND)
        hidden = engagement_pb2.ListCommentsRequest(video_id=ids["VISIBILITY_PRIVATE"])
        try:
            assert not (await comments.ListComments(hidden, metadata=_as(other.token), timeout=5)).entries
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND
        found = await search_pb2_grpc.SearchServiceStub(feed).Search(
            search_pb2.SearchRequest(query=f"{SECRET}private"), metadata=_as(other.token), timeout=5
        )
        assert ids["VISIBILITY_PRIVATE"] not in {hit.id for hit in found.hits}
        uploads = uploads_pb2_grpc.UploadServiceStub(media)
        mine = uploads_pb2.BatchGetUploadsRequest(ids=[1, 2, 3])
        assert not (await uploads.BatchGetUploads(mine, metadata=_as(other.token), timeout=5)).uploads


def _as(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def _subject(token: str) -> int:
    import base64
    import json

    body = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


async def _refused(call: Awaitable[object], code: grpc.StatusCode) -> None:
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        assert error.code() is code, error
        return
    raise AssertionError(f"answered: {answer}")


STEPS = (prepare, every_path, over_subscriptions, over_grpc)
