"""What is found out about a bucket at start, and what `migrate` makes of it, on a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import botocore.auth
import httpx
import pytest

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.stores import SCHEMES
from svc_kit.backends import EngineUnusable, migrate, resolve, verify
from svc_kit.clock import SystemClock, now_ms
from svc_kit.errors import AppError, Reason
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import S3Refused, open_bucket
from tests.support.engines import server_url, servers

SETTING = "REELGRAPH_BLOBS_URL"


@pytest.fixture(params=servers("s3"))
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A bucket of a fresh name on a real server, not made yet."""
    parts = urlsplit(server_url(request.param))
    fresh = parts._replace(path=f"/test-{secrets.token_hex(8)}").geturl()
    yield fresh
    bucket = await open_bucket(parse_address(fresh))
    try:
        await bucket.call("delete_bucket")
    except S3Refused as refused:
        assert refused.code == "NoSuchBucket"
    finally:
        await bucket.close()


async def _reason(url: str) -> str:
    with pytest.raises(EngineUnusable) as found:
        await verify(SETTING, url, SCHEMES)
    secret = urlsplit(url).password
    assert str(found.value).startswith(SETTING) and secret and secret not in str(found.value)
    return str(found.value)


async def test_a_missing_bucket_is_made_by_migrate_by_several_at_once_and_again(url: str) -> None:
    assert "does not exist: run `reelgraph migrate`" in await _reason(url)
    made = await asyncio.gather(*(migrate(SETTING, url, SCHEMES) for _ in range(3)))
    assert all("CORS" in line for line in made)
    assert await migrate(SETTING, url, SCHEMES) == made[0]
    assert "S3 bucket test-" in await verify(SETTING, url, SCHEMES)


async def test_wrong_keys_and_a_wrong_clock_are_told_apart(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(SETTING, url, SCHEMES)
    key, secret = urlsplit(url).username, urlsplit(url).password
    assert key and secret
    assert "wrong secret key" in await _reason(url.replace(secret, "another"))
    assert "access key is unknown" in await _reason(url.replace(key, "nobody"))
    real = botocore.auth.get_current_datetime

    def late(*args: object, **kwargs: object) -> datetime:
        now: datetime = real(*args, **kwargs)
        return now - timedelta(hours=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    assert "set the clock" in await _reason(url)


async def test_a_server_that_is_not_there_is_named() -> None:
    said = await _reason("s3://key:secret@127.0.0.1:1/media?secure=false")
    assert "http://127.0.0.1:1 can't be reached" in said


async def test_pages_may_put_parts_and_read_and_rules_of_others_stay(url: str) -> None:
    await migrate(SETTING, url, SCHEMES)
    bucket = await open_bucket(parse_address(url))
    try:
        own = {"ID": "theirs", "AllowedOrigins": ["https://other"], "AllowedMethods": ["DELETE"]}
        ours = (await bucket.call("get_bucket_cors"))["CORSRules"]
        await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [own, *ours]})
        await migrate(SETTING, f"{url}&cors_origins=https://app.example", SCHEMES)
        rules = (await bucket.call("get_bucket_cors"))["CORSRules"]
        assert [rule["AllowedOrigins"] for rule in rules] == [["https://other"], ["https://app.example"]]
    finally:
        await bucket.close()
    store = await resolve(SETTING, url, SCHEMES).open(url, BlobContext(b"", lambda: "", SystemClock()))
    handle = await store.begin_parts("originals/1")
    part = await store.sign_part(handle, 1, 3, "", now_ms(SystemClock()) + 60_000)
    await store.drop_parts(handle)
    await store.close()
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-checksum-sha256"}
    async with httpx.AsyncClient() as http:
        may = await http.options(part.url, headers={"Origin": "https://app.example", **asked})
        may_not = await http.options(part.url, headers={"Origin": "https://evil.example", **asked})
    assert may.status_code == 200 and may.headers["access-control-allow-origin"] == "https://app.example"
    assert may_not.status_code == 403


async def test_a_store_that_is_gone_is_unavailable_with_a_hint_and_says_nothing_of_the_driver() -> None:
    url = "s3://key:secret@127.0.0.1:1/media?secure=false"
    store = await resolve(SETTING, url, SCHEMES).open(url, BlobContext(b"", lambda: "", SystemClock()))
    calls = [store.stat("k"), store.put_bytes("k", b"x"), store.begin_parts("k"), anext(store.read("k"))]
    told = []
    for call in calls:
        with pytest.raises(AppError) as failed:
            await call
        assert failed.value.reason is Reason.UNAVAILABLE and failed.value.retry_after_ms
        told.append(failed.value.message)
    # After three calls nobody is made to wait for it.
    guarded = "The object store is not available at the moment."
    assert told == ["The object store can't be reached."] * 3 + [guarded]
    # Nothing is asked of the store for a URL.
    assert (await store.sign_part("k:id", 1, 3, "", now_ms(SystemClock()) + 60_000)).url.startswith(
        "http://127.0.0.1:1/"
    )
    await store.close()
