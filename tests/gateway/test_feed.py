"""The feed: hydrated in few calls, and right."""

from __future__ import annotations

from gateway import ids
from reelgraph.feed.v1.feeds_pb2 import FeedReason, FeedReasonKind
from tests.support.gateway_fakes import Bench

FEED = """
query Feed($kind: FeedKind!, $first: Int!, $after: String) {
  feed(kind: $kind, first: $first, after: $after) {
    snapshotId stale
    edges {
      cursor
      reason { kind text user { username } video { id caption } }
      node {
        id caption hashtags createdAt durationMs
        author { id username viewerFollows }
        likeCount commentCount shareCount viewCount viewerHasLiked
        playback { hlsUrl posterUrl expiresAt renditions { width codec } }
      }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


async def test_a_page_of_20_costs_6_calls_and_is_right(bench: Bench) -> None:
    world = bench.world
    authors = [world.add_user(f"author{number}") for number in range(5)]
    me = bench.log_in(world.add_user("me").id)
    videos = [world.add_video(authors[number % 5].id, f"clip {number} #dance") for number in range(25)]
    world.likes[videos[3].id] = {me.id, authors[0].id}
    world.add_comment(videos[3].id, authors[1].id, "nice")
    world.views[videos[3].id], world.shares[videos[3].id] = 1_000_000_000_000, 2
    world.follows.add((me.id, authors[3].id))
    followed = FeedReason(kind=FeedReasonKind.FEED_REASON_KIND_FOLLOWED, user_id=authors[3].id)
    similar = FeedReason(kind=FeedReasonKind.FEED_REASON_KIND_SIMILAR_VIDEO, video_id=videos[24].id)
    world.feed[3], world.feed[4] = (videos[3].id, followed), (videos[4].id, similar)
    await bench.data("{ viewer { id } }", token=me.token)
    world.calls.clear()
    world.viewers.clear()

    page = (await bench.data(FEED, {"kind": "FOR_YOU", "first": 20}, me.token))["feed"]

    assert world.counted() == {
        "GetFeed": 1,
        "BatchGetVideos": 1,
        "BatchGetAccounts": 1,
        "BatchGetVideoEngagement": 1,
        "BatchGetViewCounts": 1,
        "BatchGetRelations": 1,
    }
    assert set(world.viewers) == {me.id}
    assert [edge["node"]["caption"] for edge in page["edges"]] == [f"clip {number} #dance" for number in range(20)]
    assert page["snapshotId"] == "s1"
    assert page["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False, "startCursor": "t1", "endCursor": "t20"}
    edge = page["edges"][3]
    assert edge["reason"] == {
        "kind": "FOLLOWED",
        "text": "You follow @author3",
        "user": {"username": "author3"},
        "video": None,
    }
    assert page["edges"][4]["reason"]["video"]["caption"] == "clip 24 #dance"
    node = edge["node"]
    assert node["author"] == {
        "id": ids.encode(ids.Kind.USER, authors[3].id),
        "username": "author3",
        "viewerFollows": True,
    }
    assert (node["likeCount"], node["commentCount"], node["shareCount"], node["viewCount"]) == (2, 1, 2, 10**12)
    assert node["viewerHasLiked"] is True
    assert page["edges"][2]["node"]["viewerHasLiked"] is False
    assert node["playback"]["hlsUrl"].endswith("/master.m3u8")
    assert node["createdAt"] == "2027-01-15T08:00:00.000Z"


async def test_logged_out_the_feed_can_be_read_and_what_depends_on_a_viewer_is_null(bench: Bench) -> None:
    bench.world.add_video(bench.world.add_user("ada").id)

    edge = (await bench.data(FEED, {"kind": "FOR_YOU", "first": 5}))["feed"]["edges"][0]

    assert edge["node"]["viewerHasLiked"] is None
    assert edge["node"]["author"]["viewerFollows"] is None
    assert "BatchGetRelations" not in bench.world.counted()


async def test_following_needs_a_login(bench: Bench) -> None:
    body = await bench.query(FEED, {"kind": "FOLLOWING", "first": 5})

    assert body["data"] == {"feed": None}
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_what_may_not_be_seen_is_left_out_and_the_page_still_goes_on(bench: Bench) -> None:
    author = bench.world.add_user("ada")
    videos = [bench.world.add_video(author.id, f"clip {number}") for number in range(4)]
    bench.world.videos[videos[1].id].visibility = 3  # type: ignore[assignment]

    page = (await bench.data(FEED, {"kind": "FOR_YOU", "first": 2}))["feed"]

    assert [edge["node"]["caption"] for edge in page["edges"]] == ["clip 0"]
    assert page["pageInfo"]["endCursor"] == "t2"
    following = (await bench.data(FEED, {"kind": "FOR_YOU", "first": 2, "after": "t2"}))["feed"]
    assert [edge["node"]["caption"] for edge in following["edges"]] == ["clip 2", "clip 3"]
    assert following["pageInfo"]["hasNextPage"] is False
    assert following["pageInfo"]["hasPreviousPage"] is True


async def test_playback_is_signed_only_when_it_is_selected(bench: Bench) -> None:
    bench.world.add_video(bench.world.add_user("ada").id)

    await bench.data("{ feed { edges { node { id } } } }")
    assert bench.world.request("BatchGetVideos").with_playback is False
    await bench.data("{ feed { edges { node { ...P } } } } fragment P on Video { playback { hlsUrl } }")
    assert bench.world.request("BatchGetVideos").with_playback is True


async def test_the_client_is_passed_on_and_a_region_only_from_a_trusted_proxy(bench: Bench) -> None:
    await bench.query(
        "{ feed { snapshotId } }",
        X_Client_Id="abc",
        X_Client_Device="phone",
        X_Client_Timezone="Europe/Berlin",
        Accept_Language="de-DE,de;q=0.9",
        X_Client_Region="DE",
    )

    client = bench.world.request("GetFeed").client
    assert (client.client_id, client.device, client.timezone) == ("abc", "phone", "Europe/Berlin")
    assert (client.language, client.region) == ("de-DE", "")


async def test_an_outage_takes_only_the_fields_that_need_it(bench: Bench) -> None:
    author = bench.world.add_user("ada")
    bench.world.add_video(author.id, "still here")
    bench.world.down |= {"BatchGetAccounts", "BatchGetViewCounts"}

    body = await bench.query(FEED, {"kind": "FOR_YOU", "first": 5})

    node = body["data"]["feed"]["edges"][0]["node"]
    assert (node["caption"], node["author"], node["viewCount"], node["likeCount"]) == ("still here", None, None, 0)
    assert {error["extensions"]["code"] for error in body["errors"]} == {"UNAVAILABLE"}
    assert {error["path"][-1] for error in body["errors"]} == {"author", "viewCount"}
    assert body["errors"][0]["extensions"]["retryAfterMs"] > 0


async def test_a_bad_cursor_and_a_bad_first_are_bad_user_input(bench: Bench) -> None:
    for variables in ({"first": 0}, {"first": 1_000_000}, {"first": 5, "after": "nonsense"}):
        body = await bench.query(FEED, {"kind": "FOR_YOU", **variables})
        assert body["data"] == {"feed": None}
        assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert body["errors"][0]["extensions"]["field"] == ["after" if "after" in variables else "first"]
