"""Every mutation: what it answers, what it passes on, and how errors come back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ids
from gateway.ids import Kind, encode
from svc_kit.errors import AppError, Reason, UserCode, Violation
from tests.support.gateway_fakes import Bench, LoggedIn

KEY = "0123456789abcdef"


@pytest.fixture
def me(bench: Bench) -> LoggedIn:
    return bench.log_in(bench.world.add_user("me").id)


@pytest.fixture
def clip(bench: Bench) -> Any:
    return bench.world.add_video(bench.world.add_user("ada").id)


async def test_accounts(bench: Bench) -> None:
    sign_up = await bench.mutate(
        "signUp",
        {"username": "ada", "password": "correct horse", "device": "phone"},
        "accessToken refreshToken accessExpiresAt session { id device current } user { username displayName }",
    )
    assert sign_up["userErrors"] == []
    assert sign_up["session"]["device"] == "phone"
    token = sign_up["accessToken"]

    refreshed = await bench.mutate(
        "refreshSession", {"refreshToken": sign_up["refreshToken"], "idempotencyKey": KEY}, "accessToken"
    )
    assert refreshed["accessToken"]
    assert bench.world.request("RefreshSession").idempotency_key == KEY

    changed = await bench.mutate("updateProfile", {"bio": ""}, "user { displayName bio }", token)
    assert changed["user"] == {"displayName": "Ada", "bio": ""}
    request = bench.world.request("UpdateProfile")
    assert (request.HasField("bio"), request.HasField("display_name"), request.HasField("avatar_upload_id")) == (
        True,
        False,
        False,
    )

    avatar = {"avatarUploadId": encode(Kind.UPLOAD, 7), "displayName": None}
    changed = await bench.mutate("updateProfile", avatar, "user { avatarUrl displayName }", token)
    assert changed["user"] == {"avatarUrl": "http://media.test/a/7", "displayName": "Ada"}
    changed = await bench.mutate("updateProfile", {"avatarUploadId": ""}, "user { avatarUrl }", token)
    assert changed["user"] == {"avatarUrl": None}

    interests = await bench.mutate("setInterests", {"hashtags": ["#Dance"]}, "user { username } hashtags", token)
    assert (interests["hashtags"], interests["user"]) == (["dance"], {"username": "ada"})

    other = await bench.mutate("logIn", {"username": "ada", "password": "correct horse"}, "session { id }")
    revoked = await bench.mutate("revokeSession", {"sessionId": other["session"]["id"]}, "revokedSessionId", token)
    assert revoked["revokedSessionId"] == other["session"]["id"]
    out = await bench.mutate("logOut", {"idempotencyKey": KEY}, "revokedSessionId", token)
    assert out["revokedSessionId"] == sign_up["session"]["id"]


async def test_refusals_of_accounts_are_user_errors(bench: Bench, me: LoggedIn) -> None:
    taken = await bench.mutate("signUp", {"username": "me", "password": "correct horse"}, "accessToken")
    assert taken == {
        "accessToken": None,
        "userErrors": [{"field": ["username"], "message": "username me is taken.", "code": "TAKEN"}],
    }
    short = await bench.mutate("signUp", {"username": "x", "password": "short"}, "accessToken")
    assert [(e["field"], e["code"]) for e in short["userErrors"]] == [(["password"], "TOO_SHORT")]
    wrong = await bench.mutate("logIn", {"username": "me", "password": "nope"}, "accessToken")
    assert [(e["field"], e["code"]) for e in wrong["userErrors"]] == [(None, "INVALID_CREDENTIALS")]
    reused = await bench.mutate("refreshSession", {"refreshToken": "nonsense"}, "accessToken")
    assert [(e["field"], e["code"]) for e in reused["userErrors"]] == [(["refreshToken"], "INVALID_CREDENTIALS")]
    unknown = await bench.mutate("revokeSession", {"sessionId": encode(Kind.SESSION, 5)}, "revokedSessionId", me.token)
    assert unknown["userErrors"][0]["code"] == "NOT_FOUND"
    key = await bench.mutate("logOut", {"idempotencyKey": "short"}, "revokedSessionId", me.token)
    assert key["userErrors"] == [
        {
            "field": ["idempotencyKey"],
            "message": "idempotencyKey must have 16 to 64 characters; it has 5.",
            "code": "TOO_SHORT",
        }
    ]


@pytest.mark.parametrize(
    ("name", "field", "after"),
    [
        ("followUser", "viewerFollows", True),
        ("unfollowUser", "viewerFollows", False),
        ("blockUser", "viewerBlocks", True),
        ("unblockUser", "viewerBlocks", False),
        ("muteUser", "viewerMutes", True),
        ("unmuteUser", "viewerMutes", False),
    ],
)
async def test_relations_change_and_show_as_the_command_answered(
    bench: Bench, me: LoggedIn, name: str, field: str, after: bool
) -> None:
    ada = bench.world.add_user("ada")
    given = {"userId": encode(Kind.USER, ada.id), "idempotencyKey": KEY}
    bench.world.calls.clear()

    payload = await bench.mutate(name, given, f"user {{ username followerCount {field} }}", me.token)

    followers = 1 if name == "followUser" else 0
    assert payload == {
        "user": {"username": "ada", "followerCount": followers, field: after},
        "userErrors": [],
    }
    command = f"{name[0].upper()}{name[1:]}"
    assert bench.world.request(command).idempotency_key == KEY
    # The relation and the numbers are the command's own, not read again.
    calls = bench.world.counted()
    assert (calls["BatchGetRelations"], calls["BatchGetFollowCounts"], calls[command]) == (0, 0, 1)


async def test_following_oneself_somebody_unknown_or_nonsense_are_user_errors(bench: Bench, me: LoggedIn) -> None:
    for user_id, code in (
        (encode(Kind.USER, me.id), "INVALID"),
        (encode(Kind.USER, 4711), "NOT_FOUND"),
        (encode(Kind.VIDEO, me.id), "NOT_FOUND"),
        ("nonsense", "NOT_FOUND"),
    ):
        payload = await bench.mutate("followUser", {"userId": user_id}, "user { id }", me.token)
        assert [(e["field"], e["code"]) for e in payload["userErrors"]] == [(["userId"], code)]
        assert payload["user"] is None


async def test_uploads(bench: Bench, me: LoggedIn) -> None:
    begin = {
        "fileName": "a.mp4",
        "contentType": "video/mp4",
        "sizeBytes": 10,
        "sha256": "0" * 64,
        "partSha256": ["1" * 64],
        "idempotencyKey": KEY,
    }
    parts = "parts { number url sizeBytes received headers { name value } }"
    begun = await bench.mutate("beginUpload", begin, f"upload {{ id state {parts} }}", me.token)
    upload = begun["upload"]
    assert upload["state"] == "RECEIVING"
    assert upload["parts"][0]["headers"] == [{"name": "x-digest", "value": "abc"}]
    assert list(bench.world.request("BeginUpload").part_sha256) == ["1" * 64]

    incomplete = await bench.mutate("completeUpload", {"uploadId": upload["id"]}, "upload { id }", me.token)
    assert [(e["field"], e["code"]) for e in incomplete["userErrors"]] == [(["uploadId"], "INCOMPLETE")]
    number = ids.number_of(Kind.UPLOAD, upload["id"]) or 0
    bench.world.uploads[number][1].parts[0].received = True
    complete = await bench.mutate("completeUpload", {"uploadId": upload["id"]}, "upload { state }", me.token)
    assert complete["upload"] == {"state": "VERIFYING"}
    aborted = await bench.mutate("abortUpload", {"uploadId": upload["id"]}, "upload { state }", me.token)
    assert aborted["upload"] == {"state": "ABORTED"}

    too_large = await bench.mutate("beginUpload", {**begin, "sizeBytes": 2**52}, "upload { id }", me.token)
    assert [(e["field"], e["code"]) for e in too_large["userErrors"]] == [(["sizeBytes"], "TOO_LARGE")]
    assert "sizeBytes must be" in too_large["userErrors"][0]["message"]
    bad_part = await bench.mutate("beginUpload", {**begin, "partSha256": ["x"]}, "upload { id }", me.token)
    assert bad_part["userErrors"][0]["field"] == ["partSha256", "0"]


async def test_videos(bench: Bench, me: LoggedIn, clip: Any) -> None:
    upload = bench.world.add_upload(me.id, state=4)
    published = await bench.mutate(
        "publishVideo",
        {"uploadId": encode(Kind.UPLOAD, upload.id), "caption": "mine #cats"},
        "video { id caption hashtags visibility allowComments shareUrl playback { hlsUrl } author { username } }",
        me.token,
    )
    video = published["video"]
    assert (video["hashtags"], video["visibility"], video["allowComments"]) == (["cats"], "PUBLIC", True)
    assert video["shareUrl"] == f"https://reels.test/w/{video['id']}"
    assert video["playback"]["hlsUrl"].endswith(".m3u8")
    assert video["author"] == {"username": "me"}

    updated = await bench.mutate(
        "updateVideo",
        {"videoId": video["id"], "visibility": "PRIVATE", "allowComments": False},
        "video { caption visibility allowComments }",
        me.token,
    )
    assert updated["video"] == {"caption": "mine #cats", "visibility": "PRIVATE", "allowComments": False}
    request = bench.world.request("UpdateVideo")
    assert (request.HasField("caption"), request.allow_comments) == (False, False)

    theirs = await bench.mutate("updateVideo", {"videoId": encode(Kind.VIDEO, clip.id)}, "video { id }", me.token)
    assert [(e["field"], e["code"]) for e in theirs["userErrors"]] == [(["videoId"], "FORBIDDEN")]
    deleted = await bench.mutate("deleteVideo", {"videoId": video["id"]}, "deletedVideoId", me.token)
    assert deleted["deletedVideoId"] == video["id"]
    again = await bench.mutate("deleteVideo", {"videoId": video["id"]}, "deletedVideoId", me.token)
    assert again["userErrors"][0]["code"] == "NOT_FOUND"


async def test_likes_shares_and_not_interested(bench: Bench, me: LoggedIn, clip: Any) -> None:
    given = {"videoId": encode(Kind.VIDEO, clip.id), "idempotencyKey": KEY}
    numbers = "video { id likeCount shareCount viewerHasLiked }"
    bench.world.calls.clear()

    liked = await bench.mutate("likeVideo", given, numbers, me.token)
    assert (liked["video"]["likeCount"], liked["video"]["viewerHasLiked"]) == (1, True)
    assert bench.world.counted()["BatchGetVideoEngagement"] == 0
    unliked = await bench.mutate("unlikeVideo", given, numbers, me.token)
    assert (unliked["video"]["likeCount"], unliked["video"]["viewerHasLiked"]) == (0, False)
    shared = await bench.mutate("shareVideo", {**given, "channel": "LINK"}, f"shareUrl {numbers}", me.token)
    assert shared["shareUrl"] == f"https://reels.test/w/{given['videoId']}"
    assert shared["video"]["shareCount"] == 1
    unwanted = await bench.mutate("markNotInterested", given, "video { id }", me.token)
    assert unwanted["video"] == {"id": given["videoId"]}
    assert bench.world.not_interested == {(me.id, clip.id)}
    for name in ("LikeVideo", "UnlikeVideo", "ShareVideo", "MarkNotInterested"):
        assert bench.world.request(name).idempotency_key == KEY


async def test_comments(bench: Bench, me: LoggedIn, clip: Any) -> None:
    video_id = encode(Kind.VIDEO, clip.id)
    added = await bench.mutate(
        "addComment",
        {"videoId": video_id, "text": " nice "},
        "comment { id text author { username } video { id commentCount } parent { id } }",
        me.token,
    )
    comment = added["comment"]
    assert comment["text"] == "nice"
    assert comment["author"] == {"username": "me"}
    assert (comment["video"], comment["parent"]) == ({"id": video_id, "commentCount": 1}, None)

    reply = await bench.mutate(
        "addComment",
        {"videoId": video_id, "text": "thanks", "parentId": comment["id"]},
        "comment { parent { id text replyCount } }",
        me.token,
    )
    assert reply["comment"]["parent"] == {"id": comment["id"], "text": "nice", "replyCount": 1}
    liked = await bench.mutate(
        "likeComment", {"commentId": comment["id"]}, "comment { likeCount viewerHasLiked }", me.token
    )
    assert liked["comment"] == {"likeCount": 1, "viewerHasLiked": True}
    unliked = await bench.mutate("unlikeComment", {"commentId": comment["id"]}, "comment { likeCount }", me.token)
    assert unliked["comment"] == {"likeCount": 0}
    deleted = await bench.mutate("deleteComment", {"commentId": comment["id"]}, "deletedCommentId", me.token)
    assert deleted["deletedCommentId"] == comment["id"]

    for text, code in (("", "REQUIRED"), ("x" * 10_000, "TOO_LONG")):
        bad = await bench.mutate("addComment", {"videoId": video_id, "text": text}, "comment { id }", me.token)
        assert [(e["field"], e["code"]) for e in bad["userErrors"]] == [(["text"], code)]
    orphan = await bench.mutate(
        "addComment", {"videoId": video_id, "text": "x", "parentId": video_id}, "comment { id }", me.token
    )
    assert [(e["field"], e["code"]) for e in orphan["userErrors"]] == [(["parentId"], "NOT_FOUND")]


async def test_a_bad_watch_is_named_by_its_place_and_the_others_count(bench: Bench, me: LoggedIn, clip: Any) -> None:
    good = {"videoId": encode(Kind.VIDEO, clip.id), "watchedMs": 1000}
    watches = [
        {**good, "watchId": "a"},
        {**good, "watchId": "b", "videoId": "nonsense"},
        {**good, "watchId": "c", "completed": True, "edgeCursor": "t1"},
        {**good, "watchId": "d", "videoId": encode(Kind.VIDEO, 4711)},
    ]

    payload = await bench.mutate(
        "recordWatches", {"watches": watches, "idempotencyKey": KEY}, "acceptedCount", me.token
    )

    assert payload["acceptedCount"] == 2
    assert [(e["field"], e["code"]) for e in payload["userErrors"]] == [
        (["watches", "1", "videoId"], "NOT_FOUND"),
        (["watches", "3", "videoId"], "NOT_FOUND"),
    ]
    assert payload["userErrors"][1]["message"] == "videoId: there is no such video."
    sent = bench.world.request("RecordWatches")
    assert [w.edge_cursor for w in sent.watches] == ["", "t1", ""]
    assert sent.idempotency_key == KEY
    many = await bench.mutate("recordWatches", {"watches": [watches[0]] * 101}, "acceptedCount", me.token)
    assert [(e["field"], e["code"]) for e in many["userErrors"]] == [(["watches"], "TOO_LONG")]


async def test_notifications_are_marked_read(bench: Bench, me: LoggedIn) -> None:
    ada = bench.world.add_user("ada")
    first, _second = (bench.world.notify(me.id, 4, ada.id) for _ in range(2))
    given = {"upToId": encode(Kind.NOTIFICATION, first.id)}

    payload = await bench.mutate("markNotificationsRead", given, "viewer { id unreadNotificationCount }", me.token)

    assert payload["viewer"] == {"id": encode(Kind.VIEWER, me.id), "unreadNotificationCount": 1}
    assert bench.world.counted()["GetUnreadCount"] == 0


async def test_a_mutation_without_a_login_is_unauthenticated(bench: Bench, clip: Any) -> None:
    text = f'mutation {{ likeVideo(input: {{videoId: "{encode(Kind.VIDEO, clip.id)}"}}) {{ userErrors {{ code }} }} }}'

    body = await bench.query(text)

    assert body["data"] is None
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_what_nobody_caused_stays_an_error(bench: Bench, me: LoggedIn, clip: Any) -> None:
    bench.world.down.add("LikeVideo")
    text = "mutation($i: LikeVideoInput!) { likeVideo(input: $i) { userErrors { code } } }"

    body = await bench.query(text, {"i": {"videoId": encode(Kind.VIDEO, clip.id)}}, me.token, X_Request_Id="trace-1")

    assert body["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert body["errors"][0]["extensions"]["requestId"] == "trace-1"


async def test_one_mutation_after_another_sees_what_the_first_did(bench: Bench, me: LoggedIn, clip: Any) -> None:
    text = """mutation($v: ID!) {
      a: addComment(input: {videoId: $v, text: "one"}) { comment { video { commentCount } } }
      b: addComment(input: {videoId: $v, text: "two"}) { comment { video { commentCount } } }
    }"""

    data = await bench.data(text, {"v": encode(Kind.VIDEO, clip.id)}, me.token)

    assert [data[name]["comment"]["video"]["commentCount"] for name in ("a", "b")] == [1, 2]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("revokeSession", {"sessionId": "bogus"}),
        ("completeUpload", {"uploadId": "bogus"}),
        ("publishVideo", {"uploadId": "bogus", "caption": ""}),
        ("markNotificationsRead", {"upToId": "bogus"}),
    ],
)
async def test_nobody_logged_in_is_unauthenticated_whatever_the_input(
    bench: Bench, name: str, given: dict[str, str]
) -> None:
    kind = f"{name[0].upper()}{name[1:]}Input"
    text = f"mutation($i: {kind}!) {{ {name}(input: $i) {{ userErrors {{ code }} }} }}"

    body = await bench.query(text, {"i": given})

    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]


async def test_an_empty_key_is_too_short_not_absent(bench: Bench, me: LoggedIn, clip: Any) -> None:
    given = {"videoId": encode(Kind.VIDEO, clip.id), "idempotencyKey": ""}

    payload = await bench.mutate("likeVideo", given, "video { id }", me.token)

    assert [(e["field"], e["code"]) for e in payload["userErrors"]] == [(["idempotencyKey"], "TOO_SHORT")]
    assert payload["video"] is None


def test_paths_and_messages_speak_the_names_of_graphql() -> None:
    from gateway.errors import to_user_errors, words

    error = AppError(
        Reason.BAD_USER_INPUT,
        "bad",
        violations=[Violation("watches.3.video_id", "watches.3.video_id must be an id.", UserCode.INVALID)],
    )

    (found,) = to_user_errors(error)

    assert found.field == ["watches", "3", "videoId"]
    assert found.message == "watches.3.videoId must be an id."
    assert words("This cursor is malformed.", "cursor") == "This cursor is malformed."
