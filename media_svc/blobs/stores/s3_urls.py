"""Signed URLs of the S3 API: signature version 4 in the query. Nothing is asked of the store for one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

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
        self, method: str, key: str, query: dict[str, str], headers: dict[str, str], begin: datetime, lasting_s: int
    ) -> str:
        bucket = self._bucket
        root = bucket.address.root(bucket.endpoint)
        request = AWSRequest(method, f"{root}/{quote(bucket.path(key))}", headers=headers, params=query)
        lasting = max(1, min(lasting_s, _LONGEST_S))
        _QueryAuth(await bucket.credentials(), bucket.region, lasting, begin).add_auth(request)
        return str(request.url)


class _QueryAuth(S3SigV4QueryAuth):  # type: ignore[misc]
    """The library's signer, at a moment that is given: it takes the machine's clock, and a URL of its own a second."""

    def __init__(self, credentials: ReadOnlyCredentials, region: str, expires_s: int, begin: datetime) -> None:
        super().__init__(credentials, "s3", region, expires_s)
        self._begin = begin

    def add_auth(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._begin.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))
