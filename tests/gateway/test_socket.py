"""Subscriptions over graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from gateway.ids import Kind, encode
from gateway.settings import GatewaySettings
from tests.support.clock import FakeClock
from tests.support.gateway_fakes import Bench, gateway_over_fakes
from tests.support.gateway_socket import socket_to, until

COMMENTS = """subscription($v: ID!, $after: ID) { commentAdded(videoId: $v, after: $after) {
  id text author { username } video { commentCount } viewerHasLiked } }"""
NOTIFICATIONS = "subscription($after: ID) { notificationReceived(after: $after) { id kind actors { username } read } }"
UPLOAD = "subscription($u: ID!) { uploadProgressed(uploadId: $u) { state progressPercent video { id } } }"


def turn(bench: Bench, seconds: float) -> None:
    clock = bench.platform.clock
    assert isinstance(clock, FakeClock)
    clock.advance(seconds)


async def test_a_comment_reaches_a_socket_with_the_state_of_its_moment(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    async with socket_to(bench.url) as socket:
        await socket.init()
        await socket.subscribe(COMMENTS, {"v": encode(Kind.VIDEO, video.id)})
        await until(lambda: bool(bench.world.comment_streams))
        for number, text in enumerate(("one", "two"), 1):
            comment = bench.world.add_comment(video.id, ada.id, text)
            event = (await socket.next())["data"]["commentAdded"]
            assert event == {
                "id": encode(Kind.COMMENT, comment.id),
                "text": text,
                "author": {"username": "ada"},
                "video": {"commentCount": number},
                "viewerHasLiked": None,
            }
        await socket.send({"type": "complete", "id": "1"})
        await until(lambda: not bench.world.comment_streams)


async def test_what_was_missed_comes_first_and_nothing_twice(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    comments = [bench.world.add_comment(video.id, ada.id, str(number)) for number in range(4)]
    given = {"v": encode(Kind.VIDEO, video.id), "after": encode(Kind.COMMENT, comments[1].id)}
    async with socket_to(bench.url) as socket:
        await socket.init()
        await socket.subscribe(COMMENTS, given)
        assert [(await socket.next())["data"]["commentAdded"]["text"] for _ in range(2)] == ["2", "3"]
        bench.world.add_comment(video.id, ada.id, "4")
        assert (await socket.next())["data"]["commentAdded"]["text"] == "4"


async def test_a_lost_upstream_goes_on_after_the_last_event(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.subscriptions.upstream.FIRST_PAUSE_S", 0.01)
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    first = bench.world.add_comment(video.id, ada.id, "0")
    async with socket_to(bench.url) as socket:
        await socket.init()
        await socket.subscribe(COMMENTS, {"v": encode(Kind.VIDEO, video.id), "after": encode(Kind.COMMENT, first.id)})
        await until(lambda: bool(bench.world.comment_streams))
        bench.world.add_comment(video.id, ada.id, "1")
        assert (await socket.next())["data"]["commentAdded"]["text"] == "1"
        bench.world.comment_streams[0].put_nowait(None)
        await until(lambda: bench.world.counted()["StreamComments"] == 2 and bool(bench.world.comment_streams))
        bench.world.add_comment(video.id, ada.id, "2")
        assert (await socket.next())["data"]["commentAdded"]["text"] == "2"


async def test_a_notification_reaches_its_receiver_alone(bench: Bench) -> None:
    ada, me = bench.world.add_user("ada"), bench.log_in(bench.world.add_user("me").id)
    old = bench.world.notify(me.id, 1, ada.id)
    missed = bench.world.notify(me.id, 4, ada.id)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        await socket.subscribe(NOTIFICATIONS, {"after": encode(Kind.NOTIFICATION, old.id)})
        found = (await socket.next())["data"]["notificationReceived"]
        assert found == {
            "id": encode(Kind.NOTIFICATION, missed.id),
            "kind": "FOLLOW",
            "actors": [{"username": "ada"}],
            "read": False,
        }
        bench.world.notify(ada.id, 1, me.id)
        bench.world.notify(me.id, 1, ada.id)
        assert (await socket.next())["data"]["notificationReceived"]["kind"] == "LIKE"


async def test_upload_progress_starts_with_the_present_and_completes_with_the_upload(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    upload = bench.world.add_upload(me.id, state=3)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        await socket.subscribe(UPLOAD, {"u": encode(Kind.UPLOAD, upload.id)})
        first = (await socket.next())["data"]["uploadProgressed"]
        assert first == {"state": "TRANSCODING", "progressPercent": 0, "video": None}
        await until(lambda: bool(bench.world.upload_streams))
        bench.world.move_upload(upload.id, 3, 50)
        bench.world.move_upload(upload.id, 4, 100)
        assert [(await socket.next())["data"]["uploadProgressed"]["progressPercent"] for _ in range(2)] == [50, 100]
        assert await socket.receive() == {"id": "1", "type": "complete"}


async def test_what_may_not_be_heard_is_an_error_of_its_operation(bench: Bench) -> None:
    ada, me = bench.world.add_user("ada"), bench.log_in(bench.world.add_user("me").id)
    secret = bench.world.add_video(ada.id, visibility=3)
    theirs = bench.world.add_upload(ada.id)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        for query, given, code in (
            (COMMENTS, {"v": encode(Kind.VIDEO, secret.id)}, "NOT_FOUND"),
            (COMMENTS, {"v": "nonsense"}, "NOT_FOUND"),
            (COMMENTS, {"v": encode(Kind.VIDEO, secret.id), "after": "nonsense"}, "BAD_USER_INPUT"),
            (UPLOAD, {"u": encode(Kind.UPLOAD, theirs.id)}, "NOT_FOUND"),
            ("subscription { nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ):
            await socket.subscribe(query, given)
            message = await socket.receive()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)
    async with socket_to(bench.url) as socket:
        await socket.init()
        await socket.subscribe(NOTIFICATIONS)
        assert (await socket.receive())["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_queries_and_mutations_run_on_a_socket_for_its_session(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    async with socket_to(bench.url, headers={"authorization": f"Bearer {me.token}"}) as socket:
        await socket.init()
        await socket.subscribe("{ viewer { user { username } sessions { current } } }")
        answer = await socket.next()
        assert answer["data"]["viewer"] == {"user": {"username": "me"}, "sessions": [{"current": True}]}
        assert await socket.receive() == {"id": "1", "type": "complete"}
        await socket.subscribe("mutation { logOut(input: {}) { revokedSessionId } }")
        assert (await socket.closed())[0] == 4403
    assert bench.world.sessions[me.session_id].active is False


async def test_a_bad_token_closes_with_4403(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    for payload in ({"authorization": "Bearer nonsense"}, {"Authorization": me.token}, {"authorization": 7}):
        async with socket_to(bench.url) as socket:
            await socket.send({"type": "connection_init", "payload": payload})
            assert (await socket.closed())[0] == 4403
    async with socket_to(bench.url, headers={"authorization": "Bearer nonsense"}) as socket:
        await socket.send({"type": "connection_init"})
        assert (await socket.closed())[0] == 4403
    bench.world.revoke(me.session_id, tell=False)
    async with socket_to(bench.url) as socket:
        await socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {me.token}"}})
        assert (await socket.closed())[0] == 4403


async def test_a_revoked_session_closes_each_of_its_sockets_and_no_other(bench: Bench) -> None:
    me, other = (bench.log_in(bench.world.add_user(name).id) for name in ("me", "other"))
    await until(lambda: bool(bench.world.revoked))
    async with (
        socket_to(bench.url) as first,
        socket_to(bench.url) as second,
        socket_to(bench.url) as third,
    ):
        for socket, viewer in ((first, me), (second, me), (third, other)):
            await socket.init(viewer.token)
        bench.world.revoke(me.session_id)
        assert (await first.closed())[0] == 4403
        assert (await second.closed())[0] == 4403
        await third.send({"type": "ping"})
        assert await third.receive() == {"type": "pong"}


async def test_a_revocation_that_no_stream_told_of_is_found(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        bench.world.revoke(me.session_id, tell=False)
        turn(bench, 31)
        assert (await socket.closed())[0] == 4403


async def test_the_tokens_expiry_ends_nothing(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        await socket.subscribe(NOTIFICATIONS)
        await until(lambda: bool(bench.world.notification_streams))
        turn(bench, 601)
        bench.world.notify(me.id, 1, me.id)
        messages = [await socket.receive(), await socket.receive()]
        assert {message["type"] for message in messages} == {"ping", "next"}
        body = await bench.query("{ viewer { id } }", token=me.token)
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_the_server_pings_and_closes_when_no_pong_comes(bench: Bench) -> None:
    async with socket_to(bench.url) as socket:
        await socket.init()
        for _ in range(3):
            turn(bench, 15)
            assert await socket.receive() == {"type": "ping"}
            await socket.send({"type": "pong"})
            await socket.send({"type": "ping"})
            assert await socket.receive() == {"type": "pong"}
        for _ in range(2):
            turn(bench, 15)
            assert await socket.receive() == {"type": "ping"}
        turn(bench, 15)
        assert await socket.closed() == (1013, "No pong")


async def test_the_protocol_is_kept(bench: Bench) -> None:
    async with socket_to(bench.url, protocol="graphql-ws") as socket:
        assert (await socket.closed())[0] == 4406
    async with socket_to(bench.url) as socket:
        turn(bench, 11)
        assert (await socket.closed())[0] == 4408
    subscribe = {"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}}
    async with socket_to(bench.url) as socket:
        await socket.send(subscribe)
        assert (await socket.closed())[0] == 4401
    async with socket_to(bench.url) as socket:
        await socket.init()
        await socket.send({"type": "connection_init"})
        assert (await socket.closed())[0] == 4429
    long_id = json.dumps({**subscribe, "id": "1" * 129})
    for bad in ("nonsense", "[]", '{"type": "nope"}', '{"type": "subscribe", "id": "1"}', b"\x00", long_id):
        async with socket_to(bench.url) as socket:
            await socket.init()
            await socket.raw.send(bad)
            assert (await socket.closed())[0] == 4400
    me = bench.log_in(bench.world.add_user("me").id)
    async with socket_to(bench.url) as socket:
        await socket.init(me.token)
        for _ in range(2):
            await socket.subscribe(NOTIFICATIONS)
        assert (await socket.closed())[0] == 4409


async def test_a_page_of_another_origin_gets_no_socket(bench: Bench) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket_to(bench.url, headers={"origin": "https://evil.test"}):
            pass
    assert refused.value.response.status_code == 403
    async with socket_to(bench.url, headers={"origin": "http://localhost:5173"}) as socket:
        await socket.init()


async def test_a_socket_runs_a_bounded_number_of_operations(tmp_path: Path) -> None:
    async with gateway_over_fakes(tmp_path, settings=GatewaySettings(max_socket_operations=2)) as bench:
        me = bench.log_in(bench.world.add_user("me").id)
        async with socket_to(bench.url) as socket:
            await socket.init(me.token)
            for number in range(3):
                await socket.subscribe(NOTIFICATIONS, id=str(number))
            message = await socket.receive()
            assert (message["id"], message["payload"][0]["extensions"]["code"]) == ("2", "RATE_LIMITED")


async def test_a_consumer_that_does_not_read_is_sent_away(tmp_path: Path) -> None:
    settings = GatewaySettings(socket_queue_messages=20)
    async with gateway_over_fakes(tmp_path, settings=settings) as bench:
        ada = bench.world.add_user("ada")
        video = bench.world.add_video(ada.id)
        async with socket_to(bench.url, max_queue=1, compression=None) as socket:
            await socket.init()
            await socket.subscribe(COMMENTS, {"v": encode(Kind.VIDEO, video.id)})
            await until(lambda: bool(bench.world.comment_streams))
            # More than the kernel's buffers on both sides hold: the writer must wait, and its queue fills.
            for _ in range(100):
                if not bench.world.comment_streams:
                    break
                for _ in range(10):
                    bench.world.add_comment(video.id, ada.id, "x" * 100_000)
                    bench.world.comments.clear()
                await asyncio.sleep(0.02)
            await until(lambda: not bench.world.comment_streams)


async def test_a_stopping_gateway_sends_its_sockets_away_and_takes_no_more(bench: Bench) -> None:
    async with socket_to(bench.url) as socket:
        await socket.init()
        await bench.gateway.drain(1.0)
        assert (await socket.closed())[0] == 1001
    async with socket_to(bench.url) as socket:
        assert (await socket.closed())[0] == 1013


async def test_what_nobody_in_particular_hears_is_executed_once_for_all(bench: Bench) -> None:
    ada, me = bench.world.add_user("ada"), bench.log_in(bench.world.add_user("me").id)
    video = bench.world.add_video(ada.id)
    given = {"v": encode(Kind.VIDEO, video.id)}
    async with socket_to(bench.url) as first, socket_to(bench.url) as second, socket_to(bench.url) as mine:
        for socket, token in ((first, ""), (second, ""), (mine, me.token)):
            await socket.init(token)
            await socket.subscribe(COMMENTS, given)
        await until(lambda: len(bench.world.comment_streams) == 2)
        bench.world.calls.clear()
        bench.world.add_comment(video.id, ada.id, "hello")
        heard = [(await socket.next())["data"]["commentAdded"] for socket in (first, second, mine)]
        assert [event["text"] for event in heard] == ["hello"] * 3
        assert [event["viewerHasLiked"] for event in heard] == [None, None, False]
        assert bench.world.counted()["BatchGetAccounts"] == 2
        await first.send({"type": "complete", "id": "1"})
        bench.world.add_comment(video.id, ada.id, "again")
        assert (await second.next())["data"]["commentAdded"]["text"] == "again"
    await until(lambda: not bench.world.comment_streams)


async def test_when_a_shared_stream_fails_each_listener_is_told_and_may_begin_again(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    secret = bench.world.add_video(ada.id, visibility=3)
    async with socket_to(bench.url) as first, socket_to(bench.url) as second:
        for socket in (first, second):
            await socket.init()
            await socket.subscribe(COMMENTS, {"v": encode(Kind.VIDEO, secret.id)})
            message = await socket.receive()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "NOT_FOUND")
            await socket.subscribe(COMMENTS, {"v": encode(Kind.VIDEO, video.id)})
        await until(lambda: len(bench.world.comment_streams) == 1)
        bench.world.add_comment(video.id, ada.id, "hello")
        for socket in (first, second):
            assert (await socket.next())["data"]["commentAdded"]["text"] == "hello"
