"""Sign up, log in, refresh, log out; sessions; tokens that must not pass."""

from __future__ import annotations

import base64
import json
import secrets

from tests.e2e.world import PASSWORD, World, error_code, user_error

SESSION = "accessToken refreshToken accessExpiresAt session { id device current } user { id username displayName }"
ME = "{ viewer { id user { username } sessions { id current device } } }"


def _part(token: str, index: int) -> dict[str, object]:
    text = token.split(".")[index]
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def sign_up_and_log_in(world: World) -> None:
    """sign up, log in, taken names, wrong passwords"""
    alice = await world.person("alice")
    assert (await alice.query(ME))["viewer"]["user"]["username"] == "alice"
    other = await world.client()
    assert (await other.query("{ viewer { id } }"))["viewer"] is None
    assert await user_error(other, "signUp", "session { id }", username="ALICE", password=PASSWORD) == (
        "TAKEN",
        ["username"],
    )
    wrong = await user_error(other, "logIn", "session { id }", username="alice", password="not the password")
    assert wrong[0] == "INVALID_CREDENTIALS"
    nobody = await user_error(other, "logIn", "session { id }", username="nobody_here", password="not the password")
    assert nobody[0] == "INVALID_CREDENTIALS"
    short = await user_error(other, "signUp", "session { id }", username="shorty", password="short")
    assert short == ("TOO_SHORT", ["password"])


async def tokens(world: World) -> None:
    """EdDSA tokens, JWKS, and tampered, unsigned and foreign tokens refused"""
    alice = await world.person("alice")
    header, claims = _part(alice.token, 0), _part(alice.token, 1)
    assert header["alg"] == "EdDSA" and {"sub", "sid", "exp"} <= set(claims)
    jwks = (await alice.http.get(f"{world.instance.base}/.well-known/jwks.json")).json()
    assert header["kid"] in [key["kid"] for key in jwks["keys"]] and all("d" not in key for key in jwks["keys"])
    stranger = await world.client()
    head, body, signature = alice.token.split(".")
    forged = _encode({**claims, "sub": "1"})
    flipped = signature[:-8] + ("A" if signature[-8] != "A" else "B") + signature[-7:]
    unsigned = _encode({**header, "alg": "none"})
    for token in (f"{head}.{forged}.{signature}", f"{head}.{body}.{flipped}", f"{unsigned}.{body}.", "nonsense"):
        stranger.token = token
        assert (
            await error_code(stranger, "{ viewer { id } trending(first: 1) { edges { cursor } } }") == "UNAUTHENTICATED"
        )


async def refresh(world: World) -> None:
    """refresh rotates, replays within 60 s by key, reuse revokes the family"""
    client = await world.client()
    first = await client.mutate("signUp", SESSION, username="refresher", password=PASSWORD, device="a phone")
    key = secrets.token_hex(16)
    second = await client.mutate("refreshSession", SESSION, refreshToken=first["refreshToken"], idempotencyKey=key)
    again = await client.mutate("refreshSession", SESSION, refreshToken=first["refreshToken"], idempotencyKey=key)
    assert second["refreshToken"] == again["refreshToken"] != first["refreshToken"]
    third = await client.mutate("refreshSession", SESSION, refreshToken=second["refreshToken"])
    assert third["session"]["id"] == first["session"]["id"]
    reused = await user_error(client, "refreshSession", "session { id }", refreshToken=first["refreshToken"])
    assert reused[0] == "INVALID_CREDENTIALS"
    ended = await user_error(client, "refreshSession", "session { id }", refreshToken=third["refreshToken"])
    assert ended[0] == "INVALID_CREDENTIALS", "the family lives on after reuse"
    client.token = third["accessToken"]
    assert await error_code(client, "{ viewer { id } }") == "UNAUTHENTICATED"


async def sessions(world: World) -> None:
    """sessions are listed and revoked; a revoked token is refused at once"""
    phone, laptop = await world.client(), await world.client()
    await phone.sign_up("twodevices", PASSWORD)
    await laptop.log_in("twodevices", PASSWORD)
    listed = (await laptop.query(ME))["viewer"]["sessions"]
    assert len(listed) == 2 and sum(s["current"] for s in listed) == 1
    other = next(s["id"] for s in listed if not s["current"])
    assert (await laptop.mutate("revokeSession", "revokedSessionId", sessionId=other))["revokedSessionId"] == other
    assert await error_code(phone, "{ viewer { id } }") == "UNAUTHENTICATED"
    alice = await world.person("alice")
    mine = (await laptop.query(ME))["viewer"]["sessions"][0]["id"]
    assert (await user_error(alice, "revokeSession", "revokedSessionId", sessionId=mine))[0] == "NOT_FOUND"
    await laptop.mutate("logOut", "revokedSessionId")
    assert await error_code(laptop, "{ viewer { id } }") == "UNAUTHENTICATED"


STEPS = (sign_up_and_log_in, tokens, refresh, sessions)
