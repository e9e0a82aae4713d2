"""Access tokens: what a service accepts as a viewer, and what not."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from svc_kit.auth import AUDIENCE, ISSUER, Authenticator, TokenVerifier
from svc_kit.caller import Role
from svc_kit.errors import AppError, Reason
from tests.support.clock import FakeClock
from tests.support.platform import KEY_ID, SERVICE_TOKEN, Tokens

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
KEY = OKPKey.generate_key("Ed25519", {"kid": "k1"})
OTHER = OKPKey.generate_key("Ed25519", {"kid": "k1"})


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "7", "sid": "9", "role": "user", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def signed(body: dict[str, Any], key: OKPKey = KEY) -> str:
    return jwt.encode({"alg": "EdDSA", "kid": "k1"}, body, key, algorithms=["EdDSA"])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def verifier(clock: FakeClock) -> AsyncIterator[TokenVerifier]:
    async def jwks() -> str:
        return json.dumps({"keys": [KEY.as_dict(private=False)]})

    yield TokenVerifier(jwks, clock)


async def refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(AppError) as error:
        await verifier.verify(token)
    assert error.value.reason is Reason.UNAUTHENTICATED


async def test_a_signed_token_says_who_it_is_for(verifier: TokenVerifier, clock: FakeClock) -> None:
    found = await verifier.verify(signed(claims(clock, role="moderator")))
    assert (found.user_id, found.session_id, found.role) == (7, 9, Role.MODERATOR)


async def test_a_token_without_signature_is_refused(verifier: TokenVerifier, clock: FakeClock) -> None:
    for alg in ("none", "None", "NONE"):
        await refused(verifier, f"{encoded({'alg': alg, 'kid': 'k1'})}.{encoded(claims(clock))}.")


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    verifier: TokenVerifier, clock: FakeClock
) -> None:
    public = KEY.as_dict(private=False)
    for secret in (str(public["x"]).encode(), json.dumps(public).encode(), KEY.as_pem(private=False)):
        body = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(claims(clock))}"
        mac = base64.urlsafe_b64encode(hmac.digest(secret, body.encode(), "sha256")).rstrip(b"=").decode()
        await refused(verifier, f"{body}.{mac}")
    shared = OctKey.import_key("0123456789abcdef0123456789abcdef")
    await refused(verifier, jwt.encode({"alg": "HS256", "kid": "k1"}, claims(clock), shared))


async def test_a_token_of_another_key_under_a_known_id_is_refused(verifier: TokenVerifier, clock: FakeClock) -> None:
    await refused(verifier, signed(claims(clock), OTHER))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "somebody"},
        {"iss": None},
        {"aud": "something"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"exp": None},
        {"exp": "soon"},
        {"sub": None},
        {"sub": "anna"},
        {"sub": "0"},
        {"sub": "-7"},
        {"sub": str(2**63)},
        {"sid": None},
        {"sid": "0"},
        {"role": "admin"},
        {"role": None},
    ],
)
async def test_a_token_with_wrong_claims_is_refused(
    verifier: TokenVerifier, clock: FakeClock, change: dict[str, Any]
) -> None:
    await refused(verifier, signed(claims(clock, **change)))


async def test_a_token_expires_also_when_it_was_seen_before(verifier: TokenVerifier, clock: FakeClock) -> None:
    token = signed(claims(clock))
    await verifier.verify(token)
    clock.advance(599)
    await verifier.verify(token)
    clock.advance(1)
    await refused(verifier, token)


async def test_a_changed_character_anywhere_is_refused(verifier: TokenVerifier, clock: FakeClock) -> None:
    token = signed(claims(clock))
    await verifier.verify(token)
    # The last character of 64 bytes carries bits that decode to nothing, so the one before it.
    for position in range(0, len(token) - 1, 7):
        other = "A" if token[position] != "A" else "B"
        await refused(verifier, token[:position] + other + token[position + 1 :])


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "é.é.é", "x" * 5000, f"{encoded([])}.{encoded([])}.AA", f"{encoded(7)}.{encoded(7)}.AA"],
)
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    await refused(verifier, token)


async def test_a_new_key_is_fetched_when_a_token_names_it_and_unknown_ones_do_not_flood(clock: FakeClock) -> None:
    keys, fetches = [KEY], 0

    async def jwks() -> str:
        nonlocal fetches
        fetches += 1
        return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})

    verifier = TokenVerifier(jwks, clock)
    await verifier.verify(signed(claims(clock)))
    new = OKPKey.generate_key("Ed25519", {"kid": "k2"})
    keys.append(new)
    clock.advance(10)
    await verifier.verify(jwt.encode({"alg": "EdDSA", "kid": "k2"}, claims(clock), new, algorithms=["EdDSA"]))
    for n in range(20):
        stranger = OKPKey.generate_key("Ed25519", {"kid": f"x{n}"})
        token = jwt.encode({"alg": "EdDSA", "kid": f"x{n}"}, claims(clock), stranger, algorithms=["EdDSA"])
        await refused(verifier, token)
    assert fetches == 2


async def test_only_a_service_may_act_for_a_viewer(clock: FakeClock) -> None:
    tokens = Tokens(clock)
    authenticate = Authenticator(tokens.verifier, SERVICE_TOKEN).authenticate
    service = await authenticate(f"Bearer {SERVICE_TOKEN}", "7")
    assert (service.is_service, service.user_id) == (True, 7)
    viewer = await authenticate(f"bearer {tokens.issue(7)}")
    assert (viewer.is_service, viewer.user_id) == (False, 7)
    assert (await authenticate("")).user_id == 0
    for authorization, named in [("", "7"), (f"Bearer {tokens.issue(7)}", "8"), ("Bearer ", ""), (KEY_ID, "")]:
        with pytest.raises(AppError) as error:
            await authenticate(authorization, named)
        assert error.value.reason is Reason.UNAUTHENTICATED
    for named in ("-1", "x", "0", str(2**63), "٧"):
        with pytest.raises(AppError):
            await authenticate(f"Bearer {SERVICE_TOKEN}", named)
