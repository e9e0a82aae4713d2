"""Whether a bucket can be used, and making it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from svc_kit.backends import EngineUnusable
from svc_kit.errors import AppError
from svc_kit.s3.address import S3Address, parse_address
from svc_kit.s3.bucket import Bucket, S3Refused, open_bucket

_UNKNOWN_KEY = "the access key is unknown to the server"
_REASONS: Mapping[str, str] = {
    "NoSuchBucket": "the bucket {bucket} does not exist: run `reelgraph migrate`",
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "XAdminUserNotFound": _UNKNOWN_KEY,
    "XAdminNoSuchUser": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": "wrong secret key",
    "ExpiredToken": "the credentials have expired",
    "RequestTimeTooSkewed": "this machine's clock and the server's differ by more than 15 minutes: set the clock",
    "PermanentRedirect": "the bucket {bucket} is in another region: set ?region=",
    "AuthorizationHeaderMalformed": "the bucket {bucket} is in another region: set ?region=",
    "AccessDenied": "the access key may not use the bucket {bucket}",
}
_MINE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


async def verify(url: str) -> str:
    """What the bucket of `url` is. Changes nothing. Raises `EngineUnusable` with the reason."""
    async with _bucket(url) as bucket:
        # A HEAD would be answered without a reason.
        await bucket.call("list_objects_v2", MaxKeys=1, Prefix=bucket.address.prefix)
        return f"S3 bucket {bucket.address.shown}"


@asynccontextmanager
async def made_bucket(url: str) -> AsyncIterator[Bucket]:
    """The bucket of `url`, made where it is missing. Raises `EngineUnusable`."""
    async with _bucket(url) as bucket:
        try:
            await bucket.call("list_objects_v2", MaxKeys=1, Prefix=bucket.address.prefix)
        except S3Refused as refused:
            if refused.code != "NoSuchBucket":
                raise
            await _make(bucket)
        yield bucket


async def _make(bucket: Bucket) -> None:
    # Only AWS asks for a place, and not for the oldest of its regions.
    elsewhere = not bucket.address.endpoint and bucket.region != "us-east-1"
    where: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": bucket.region}} if elsewhere else {}
    try:
        await bucket.call("create_bucket", **where)
    except S3Refused as refused:
        # Somebody else was quicker; whether it is ours shows at the next call.
        if refused.code not in _MINE:
            raise


@asynccontextmanager
async def _bucket(url: str) -> AsyncIterator[Bucket]:
    address = parse_address(url)
    # One attempt: an operator waits for the answer.
    bucket = await open_bucket(address, attempts=1)
    try:
        yield bucket
    except S3Refused as refused:
        raise EngineUnusable(_reason(refused, address)) from refused
    except AppError as error:
        raise EngineUnusable(f"{address.endpoint or 'AWS'} can't be reached") from error
    finally:
        await bucket.close()


def _reason(refused: S3Refused, address: S3Address) -> str:
    known = _REASONS.get(refused.code)
    if known is None:
        return f"the server refused: {refused.code or refused.status}"
    return known.format(bucket=address.bucket)
