"""Who may ask: tokens, sessions, and answers that no cache may keep."""

from __future__ import annotations

import base64
import json

import pytest

from tests.support.cache import take_down
from tests.support.gateway_fakes import Bench

VIEWER = "{ viewer { id user { username } sessions { current device } } trending { edges { cursor } } }"


def unsigned(token: str) -> str:
    """The token with `alg: none` and no signature."""
    _, claims, _ = token.split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{header}.{claims}."


def tampered(token: str) -> str:
    """The token with another user's id and the old signature."""
    header, claims, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    said["sub"] = "1"
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"{header}.{forged}.{signature}"


@pytest.mark.parametrize("kind", ["garbage", "tampered", "unsigned", "expired", "revoked", "not bearer"])
async def test_a_bad_token_refuses_the_whole_request(bench: Bench, kind: str) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)
    authorization = {
        "garbage": "Bearer nonsense",
        "tampered": f"Bearer {tampered(me.token)}",
        "unsigned": f"Bearer {unsigned(me.token)}",
        "expired": f"Bearer {bench.platform.tokens.issue(me.id, me.session_id, lifetime_s=-1)}",
        "revoked": f"Bearer {me.token}",
        "not bearer": me.token,
    }[kind]
    if kind == "revoked":
        bench.world.revoke(me.session_id, tell=False)

    body = await bench.query(VIEWER, authorization=authorization)

    assert body["data"] is None
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert body["errors"][0]["extensions"]["requestId"]
    assert "ListTrending" not in bench.world.counted()
    modern = await bench.post(VIEWER, authorization=authorization, accept="application/graphql-response+json")
    assert modern.status_code == 401


async def test_sign_up_log_in_and_refresh_ignore_a_bad_token(bench: Bench) -> None:
    bench.world.add_user("ada")
    text = """mutation($i: LogInInput!) { logIn(input: $i) { accessToken session { current } user { username }
              userErrors { code } } }"""

    body = await bench.query(
        text, {"i": {"username": "ada", "password": "correct horse"}}, authorization="Bearer expired.or.bad"
    )

    assert body["data"]["logIn"]["user"] == {"username": "ada"}
    assert body["data"]["logIn"]["session"] == {"current": True}
    with_more = "mutation($i: LogInInput!) { logIn(input: $i) { accessToken } logOut(input: {}) { revokedSessionId } }"
    body = await bench.query(
        with_more, {"i": {"username": "ada", "password": "correct horse"}}, authorization="Bearer expired.or.bad"
    )
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_the_clients_address_is_vouched_for_by_the_gateway(bench: Bench) -> None:
    payload = await bench.mutate("signUp", {"username": "ada", "password": "correct horse"}, "user { username }")

    assert payload["user"] == {"username": "ada"}
    assert bench.world.request("SignUp").client_address == "127.0.0.1"


async def test_a_viewers_answer_is_never_kept(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)

    private = await bench.post(VIEWER, token=me.token)
    public = await bench.post("{ viewer { id } }")

    assert private.headers["cache-control"] == "private, no-store"
    assert "authorization" in private.headers["vary"].lower()
    assert public.json() == {"data": {"viewer": None}, "extensions": public.json()["extensions"]}
    assert private.json()["data"]["viewer"]["user"] == {"username": "ada"}
    assert private.json()["data"]["viewer"]["sessions"] == [{"current": True, "device": "test"}]


async def test_session_states_come_from_the_cache_and_truth_is_asked_once(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)

    for _ in range(3):
        await bench.data("{ viewer { id } }", token=me.token)

    assert bench.world.counted()["BatchGetSessionStates"] == 1


async def test_with_the_cache_down_truth_is_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)

    take_down(bench.platform.cache, monkeypatch)

    assert (await bench.data("{ viewer { id } }", token=me.token))["viewer"]
    bench.world.revoke(me.session_id, tell=False)
    body = await bench.query("{ viewer { id } }", token=me.token)
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_when_neither_cache_nor_truth_answers_it_fails_closed(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)
    bench.world.down.add("BatchGetSessionStates")

    body = await bench.query("{ viewer { id } }", token=me.token)

    assert body["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "data" not in body


async def test_while_truth_is_away_a_session_that_stood_a_moment_ago_goes_on_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, other = (bench.log_in(bench.world.add_user(name).id) for name in ("ada", "eve"))
    await bench.data("{ viewer { id } }", token=known.token)

    take_down(bench.platform.cache, monkeypatch)
    bench.world.down.add("BatchGetSessionStates")

    assert (await bench.data("{ __typename }", token=known.token)) == {"__typename": "Query"}
    refused = await bench.query("{ __typename }", token=other.token)
    assert refused["errors"][0]["extensions"]["code"] == "UNAVAILABLE"


async def test_a_session_that_was_revoked_is_not_trusted_while_truth_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)
    await bench.data("{ viewer { id } }", token=me.token)
    await bench.mutate("logOut", {}, "revokedSessionId", me.token)

    take_down(bench.platform.cache, monkeypatch)
    bench.world.down.add("BatchGetSessionStates")

    body = await bench.query("{ __typename }", token=me.token)
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_session_that_was_ended_here_is_refused_at_once(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("ada").id)
    await bench.data("{ viewer { id } }", token=me.token)

    payload = await bench.mutate("logOut", {}, "revokedSessionId", me.token)

    assert payload["revokedSessionId"]
    body = await bench.query("{ viewer { id } }", token=me.token)
    assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_tokens_are_kept_by_no_cache(bench: Bench) -> None:
    document = 'mutation { logIn(input: {username: "ada", password: "correct horse"}) { accessToken } }'

    answered = await bench.http.post("/graphql", json={"query": document})

    assert answered.headers["cache-control"] == "private, no-store"
