"""Signed URLs: the same signatures as the library's own signer makes, and their ends."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from media_svc.blobs.stores.s3_urls import S3Urls
from svc_kit.clock import now_ms
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import Bucket
from tests.support.clock import FakeClock

SERVER, AWS = "s3://host:7070/media?secure=false&prefix=a", "s3://media?region=eu-west-1"
PUBLIC = "s3://host:7070/media?public_endpoint=https://cdn.example"


class _Credentials:
    def __init__(self, token: str) -> None:
        self.frozen = ReadOnlyCredentials("KEY", "secret/+", token or None)

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self.frozen


def _bucket(url: str, token: str = "") -> Bucket:
    address = parse_address(url)
    endpoint = address.endpoint or f"https://s3.{address.region}.amazonaws.com"
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint, region_name=address.region))
    credentials: Any = _Credentials(token)
    return Bucket(address, client, credentials, AsyncExitStack(), FakeClock())


@pytest.mark.parametrize("token", ["", "a/session+token="])
@pytest.mark.parametrize("sha256", ["", "ab" * 32])
@pytest.mark.parametrize(
    ("url", "root"),
    [
        (SERVER, "http://host:7070/media/a/originals/1"),
        (AWS, "https://media.s3.eu-west-1.amazonaws.com/originals/1"),
        (PUBLIC, "https://cdn.example/media/originals/1"),
    ],
)
async def test_a_part_is_signed_as_the_library_would(
    url: str, root: str, sha256: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, clock = _bucket(url, token), FakeClock()
    signed = await S3Urls(bucket, clock).put_part("originals/1", "id~/+=", 7, 5 << 20, sha256, now_ms(clock) + 600_000)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", clock.now)
    query = {"partNumber": "7", "uploadId": "id~/+="}
    request = AWSRequest("PUT", root, {"content-length": str(5 << 20), **dict(signed.headers)}, params=query)
    S3SigV4QueryAuth(await bucket.credentials(), "s3", bucket.region, 600).add_auth(request)
    theirs, ours = urlsplit(request.url), urlsplit(signed.url)
    assert (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)
    assert dict(parse_qsl(ours.query)) == dict(parse_qsl(theirs.query))
    assert [name for name, _ in signed.headers] == (["x-amz-checksum-sha256"] if sha256 else [])


async def test_urls_end_when_they_are_said_to_and_never_after_a_week() -> None:
    clock = FakeClock()
    urls = S3Urls(_bucket(SERVER), clock)

    async def lasting(for_ms: int) -> tuple[str, str]:
        part = await urls.put_part("k", "id", 1, 1, "", now_ms(clock) + for_ms)
        asked = dict(parse_qsl(urlsplit(part.url).query))
        return asked["X-Amz-Date"], asked["X-Amz-Expires"]

    now, past = clock.now(), clock.now() - timedelta(seconds=61)
    assert await lasting(90_000) == (f"{now:%Y%m%dT%H%M%SZ}", "90")
    assert (await lasting(30 * 24 * 3_600_000))[1] == "604800"
    assert await lasting(-60_000) == (f"{past:%Y%m%dT%H%M%SZ}", "1")


async def test_the_url_of_a_read_stays_the_same_for_a_while_and_lasts_as_long_again() -> None:
    clock = FakeClock()
    urls = S3Urls(_bucket(SERVER), clock)
    clock.advance(300 - clock.now().timestamp() % 300)
    first = await urls.get("sets/1/s.m4s", "video/iso.segment", 300)
    clock.advance(299)
    assert await urls.get("sets/1/s.m4s", "video/iso.segment", 300) == first
    assert dict(parse_qsl(urlsplit(first).query))["X-Amz-Expires"] == "600"
    clock.advance(1)
    assert await urls.get("sets/1/s.m4s", "video/iso.segment", 300) != first
