"""One bucket and the few operations on it that everybody needs: bounded in time and memory, with errors of ours."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from svc_kit.backends import EngineUnusable
from svc_kit.breaker import Breaker
from svc_kit.clock import Clock, SystemClock
from svc_kit.errors import AppError, Reason, unavailable
from svc_kit.s3.address import S3Address
from svc_kit.telemetry import log

_log = log(__name__)
CALL_S = 10.0
"""What one call without a body may take, with its retries."""
TRANSFER_S = 120.0
"""The same with a body of at most some MiB, and for joining parts."""
_CONNECT_S, _SILENCE_S = 3, 60
_FAILURES, _WINDOW_S, _OPEN_S = 3, 30.0, 1.0
"""So many unanswered calls within so many seconds and no answer between them, and nobody waits any more; asked again a
second later."""
_SLOW = 0.3
"""A call that its caller gave up after this share of what it may take was not answered: three seconds, but half a
minute of a transfer, which may well be slow."""
READ_BYTES = 256 * 1024
PAGE = 1000
"""Most keys of one listing and of one deletion."""
_MISSING = {"NoSuchKey", "NotFound", "404", "NoSuchVersion"}
_PASSING_STATUSES = {408, 429}
_PASSING = {
    "ConditionalRequestConflict",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "OperationAborted",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""Somebody was at it at the same time, or this process's clock or credentials are at fault, whatever it asks for."""
_NO_CLASS = {"InvalidStorageClass", "NotImplemented", "InvalidArgument"}


class S3Refused(AppError):
    """The store understood and refused. To a client it is UNAVAILABLE, unless somebody knows what `code` means."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(Reason.UNAVAILABLE, "The object store can't be used.", retry_after_ms=1000)
        self.code = code
        self.status = status

    @property
    def is_missing(self) -> bool:
        """There is no such object."""
        return self.code in _MISSING

    @property
    def is_lasting(self) -> bool:
        """Forbidden, archived, too small: the same request is refused again. Not 408, 429, and what is no fault of the
        request's."""
        is_refusal = 400 <= self.status < 500 and self.status not in _PASSING_STATUSES
        # Of several deletions in one call each has its code, and the call is fine.
        return (is_refusal and self.code not in _PASSING) or self.code == "AccessDenied"


@dataclass(frozen=True, slots=True)
class S3Object:
    """What is known of an object. The key is without the address's prefix, the tag without quotes."""

    key: str
    size_bytes: int
    etag: str
    modified_at_ms: int


class Bucket:
    """A bucket below an address's prefix. Raises `AppError` UNAVAILABLE, of it `S3Refused` when the store answered."""

    def __init__(
        self, address: S3Address, client: Any, credentials: AioCredentials, stack: AsyncExitStack, clock: Clock
    ) -> None:
        self.address = address
        self._client = client
        self._credentials = credentials
        self._stack = stack
        self._classes = dict(address.storage_classes or {})
        self._breaker = Breaker(
            "The object store", clock, failures=_FAILURES, window_s=_WINDOW_S, open_s=_OPEN_S, forgiving=True
        )

    @property
    def endpoint(self) -> str:
        """Where the store is, for signed URLs."""
        return self.address.public_endpoint or str(self._client.meta.endpoint_url)

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return str(self._client.meta.region_name)

    async def credentials(self) -> ReadOnlyCredentials:
        """Credentials that are good now: those of a role change."""
        if self.address.access_key:
            return ReadOnlyCredentials(self.address.access_key, self.address.secret_key, None)
        with s3_errors():
            async with asyncio.timeout(CALL_S):
                return await self._credentials.get_frozen_credentials()

    def path(self, key: str) -> str:
        """The key as the store knows it."""
        return self.address.prefix + key

    async def call(self, operation: str, seconds: float = CALL_S, **parameters: Any) -> Mapping[str, Any]:
        """Any operation of the client on this bucket. A store that does not answer is asked once in a while, not by
        everybody: calls fail at once until it does."""
        if seconds > CALL_S and not self._breaker.is_closed:
            # What may take minutes must not be what everybody else waits for.
            await self.call("head_bucket")

        async def ask() -> Mapping[str, Any] | S3Refused:
            try:
                with s3_errors():
                    answer: Mapping[str, Any] = await getattr(self._client, operation)(
                        Bucket=self.address.bucket, **parameters
                    )
                    return answer
            except S3Refused as refused:
                if refused.status >= 500:
                    raise
                return refused

        answered = await self._breaker.call(ask, deadline_s=seconds, slow_s=_SLOW * seconds)
        if isinstance(answered, S3Refused):
            raise answered
        return answered

    def before_parse(self, operation: str, handler: Callable[..., None]) -> None:
        """Have `handler(response_dict=..., customized_response_dict=...)` see every raw answer to an operation
        (`ListParts`): where there is a quicker way to take it apart than the client's."""
        self._client.meta.events.register(f"before-parse.s3.{operation}", handler)

    async def call_keeping(self, operation: str, key: str, seconds: float, **parameters: Any) -> Mapping[str, Any]:
        """An operation that makes an object of `key`, in the storage class that its first segment is to have. A store
        that has no such class keeps it in its usual one."""
        segment = key.partition("/")[0]
        wanted = self._classes.get(segment, "")
        chosen: dict[str, Any] = {"StorageClass": wanted} if wanted else {}
        try:
            return await self.call(operation, seconds, Key=self.path(key), **chosen, **parameters)
        except S3Refused as refused:
            if not wanted or refused.code not in _NO_CLASS:
                raise
            answer = await self.call(operation, seconds, Key=self.path(key), **parameters)
            _log.warning("the store has no such storage class", storage_class=wanted, segment=segment)
            self._classes.pop(segment, None)
            return answer

    async def put(self, key: str, data: bytes, sha256: bytes) -> str:
        """Store an object whole; the store refuses it when it got other bytes. Returns its tag."""
        checksum = base64.b64encode(sha256).decode()
        answer = await self.call_keeping("put_object", key, TRANSFER_S, Body=data, ChecksumSHA256=checksum)
        return untagged(answer["ETag"])

    async def head(self, key: str) -> S3Object | None:
        """What is known of an object; None when there is none."""
        try:
            found = await self.call("head_object", Key=self.path(key))
        except S3Refused as refused:
            if refused.is_missing:
                return None
            raise
        return S3Object(key, found["ContentLength"], untagged(found["ETag"]), at_ms(found["LastModified"]))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start`, `length` of them or all, in pieces of at most `READ_BYTES`. Nothing when there are
        none from `start` on. Raises `S3Refused` with `is_missing`."""
        wanted: dict[str, Any] = {}
        if start or length is not None:
            wanted["Range"] = f"bytes={start}-{'' if length is None else start + max(length, 1) - 1}"
        try:
            answer = await self.call("get_object", Key=self.path(key), **wanted)
        except S3Refused as refused:
            if refused.code == "InvalidRange":
                return
            raise
        async with answer["Body"] as body:
            while length != 0:
                with s3_errors():
                    piece: bytes = await body.read(READ_BYTES)
                if not piece:
                    return
                yield piece

    async def list(self, prefix: str, after: str = "", limit: int = PAGE) -> Sequence[S3Object]:
        """Objects whose key begins with `prefix`, by key, above `after`; `limit` of them, however many pages."""
        found: list[S3Object] = []
        while len(found) < limit:
            asked: dict[str, Any] = {"Prefix": self.path(prefix), "MaxKeys": min(PAGE, limit - len(found))}
            last = found[-1].key if found else after
            if last:
                asked["StartAfter"] = self.path(last)
            page = await self.call("list_objects_v2", **asked)
            found += [self._object(entry) for entry in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
        return found

    def _object(self, entry: Mapping[str, Any]) -> S3Object:
        key = str(entry["Key"]).removeprefix(self.address.prefix)
        return S3Object(key, entry["Size"], untagged(entry["ETag"]), at_ms(entry["LastModified"]))

    async def folders(self, prefix: str) -> Sequence[str]:
        """The next segments of keys below `prefix`, which ends with a slash."""
        found: list[str] = []
        token: dict[str, Any] = {}
        while True:
            page = await self.call("list_objects_v2", Prefix=self.path(prefix), Delimiter="/", **token)
            found += [entry["Prefix"].rstrip("/").rpartition("/")[2] for entry in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return found
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; none there is fine."""
        for start in range(0, len(keys), PAGE):
            named = [{"Key": self.path(key)} for key in keys[start : start + PAGE]]
            answer = await self.call("delete_objects", TRANSFER_S, Delete={"Objects": named, "Quiet": True})
            failed = [error for error in answer.get("Errors", ()) if error.get("Code") not in _MISSING]
            if failed:
                raise S3Refused(str(failed[0].get("Code", "")), 200)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._stack.aclose()


async def open_bucket(address: S3Address, *, attempts: int = 3, clock: Clock | None = None) -> Bucket:
    """A client of its own, with at most `address.connections` connections; connects when first used.

    Raises `EngineUnusable` when there are no credentials, or no region."""
    session = get_session()
    if address.access_key:
        session.set_credentials(address.access_key, address.secret_key)
    config = AioConfig(
        signature_version="s3v4",
        connect_timeout=_CONNECT_S,
        read_timeout=_SILENCE_S,
        max_pool_connections=address.connections,
        # Standard: a budget for all calls together, so that retries can't multiply the load of a failing store.
        retries={"mode": "standard", "total_max_attempts": attempts},
        # Bodies carry a checksum; hashing them once more for the signature would hold up everything else.
        s3={"addressing_style": "path" if address.path_style else "virtual", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    stack = AsyncExitStack()
    try:
        async with asyncio.timeout(CALL_S):
            credentials = await session.get_credentials()
            if credentials is None:
                raise EngineUnusable("no credentials: neither in the URL nor in the standard chain")
            client = await stack.enter_async_context(
                session.create_client(
                    "s3", region_name=address.region or None, endpoint_url=address.endpoint or None, config=config
                )
            )
    except BotoCoreError as error:
        raise EngineUnusable(f"can't be used: {error}") from error
    if client.meta.region_name in (None, "aws-global"):
        await stack.aclose()
        raise EngineUnusable("name the bucket's region: ?region=...")
    return Bucket(address, client, credentials, stack, clock or SystemClock())


@contextmanager
def s3_errors() -> Iterator[None]:
    """The client's errors become UNAVAILABLE; their text stays in the logs."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise S3Refused(code, status) from error
    except (BotoCoreError, HTTPClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.warning("object store not reached", failure=f"{type(error).__name__}: {error}")
        raise unavailable("The object store can't be reached.") from error


def untagged(etag: str) -> str:
    """An entity tag without its quotes."""
    return etag.strip('"')


def at_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
