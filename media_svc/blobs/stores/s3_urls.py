"""Signed URLs of the S3 API: signature version 4 in the query. Nothing is asked of the store for one.

The library takes fourteen times as long, for requests of any kind (its signer alone five times): an upload has hundreds
of parts, and all are signed for one answer. `tests/media/test_s3_urls.py` holds both to the same signatures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

from media_svc.blobs.store import SignedPart
from svc_kit.clock import Clock, from_ms
from svc_kit.s3.bucket import Bucket

_LONGEST_S = 7 * 24 * 3600
"""The protocol's own bound."""
_FOR_EVER = "public, max-age=31536000, immutable"


class S3Urls:
    """URLs at the store's public address."""

    def __init__(self, bucket: Bucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def put_part(
        self, key: str, upload_id: str, number: int, size_bytes: int, sha256: str, expires_at_ms: int
    ) -> SignedPart:
        """A URL to PUT a part to; the headers to send along are what the URL signs beside length and host."""
        headers: dict[str, str] = {}
        if sha256:
            headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        signed = {"content-length": str(size_bytes), **headers}
        query = {"partNumber": str(number), "uploadId": upload_id}
        now, end = self._clock.now(), from_ms(expires_at_ms)
        # A URL whose end is past must still be one, that is refused.
        begin = min(now, end - timedelta(seconds=1))
        url = await self._sign("PUT", key, query, signed, begin, int((end - begin).total_seconds()))
        return SignedPart(url, tuple(headers.items()))

    async def get(self, key: str, media_type: str, lasting_s: int) -> str:
        """A URL to GET a blob from, served as `media_type`; the same for everybody within `lasting_s`, so that caches
        on the way hit."""
        begun_s = int(self._clock.now().timestamp()) // lasting_s * lasting_s
        query = {"response-content-type": media_type, "response-cache-control": _FOR_EVER}
        return await self._sign("GET", key, query, {}, datetime.fromtimestamp(begun_s, UTC), 2 * lasting_s)

    async def _sign(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        begin: datetime,
        lasting_s: int,
    ) -> str:
        bucket = self._bucket
        scheme, _, place = bucket.address.root(bucket.endpoint).partition("://")
        host, _, folder = place.partition("/")
        path = quote(f"/{folder}/{bucket.path(key)}" if folder else f"/{bucket.path(key)}")
        credentials = await bucket.credentials()
        at = begin.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{at[:8]}/{bucket.region}/s3/aws4_request"
        signed = {**headers, "host": host}
        asked = {
            **query,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(max(1, min(lasting_s, _LONGEST_S))),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        if credentials.token:
            asked["X-Amz-Security-Token"] = credentials.token
        search = "&".join(f"{name}={_quoted(value)}" for name, value in sorted(asked.items()))
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(signed.items()))
        request = f"{method}\n{path}\n{search}\n{lines}\n{asked['X-Amz-SignedHeaders']}\nUNSIGNED-PAYLOAD"
        to_sign = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = _hmac(_key(credentials.secret_key, at[:8], bucket.region), to_sign).hex()
        return f"{scheme}://{host}{path}?{search}&X-Amz-Signature={signature}"


@lru_cache(maxsize=256)
def _quoted(value: str) -> str:
    # Nearly all values are those of the part before.
    return quote(value, safe="-_.~")


@lru_cache(maxsize=8)
def _key(secret_key: str, day: str, region: str) -> bytes:
    """What a day's signatures are made with."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
