"""What a bucket of media needs beside being there: who may read and write from a browser, and what moves where when.

Hot, warm and cold: renditions (`sets/`) are read all the time and stay in the store's usual class. Originals are read
within minutes of their upload and hardly ever again: they begin in the usual class and are moved by age. What should
begin elsewhere is named by `storage_classes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from svc_kit.s3.address import S3Address
from svc_kit.s3.bucket import Bucket, S3Refused
from svc_kit.s3.usable import made_bucket

_STALE_UPLOAD_DAYS = 7
"""A net below the janitor, which gives uploads up after hours."""
_NONE_YET = {"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"}
_READ_HEADERS = ["ETag", "Content-Range", "Content-Length", "Accept-Ranges"]


async def migrate(url: str) -> str:
    """Make the bucket where it is missing, and set its CORS and lifecycle rules where the server has such things. Rules
    of others stay. Raises `EngineUnusable`."""
    async with made_bucket(url) as bucket:
        done = [f"S3 bucket {bucket.address.shown}"]
        for what, set_rules in (("CORS", _set_cors), ("lifecycle rules", _set_lifecycle)):
            try:
                await set_rules(bucket)
            except S3Refused as refused:
                # What a server does not have it names in its own way; what a key may not do, its operator does.
                done.append(f"no {what} ({refused.code or refused.status})")
            else:
                done.append(what)
        return ", ".join(done)


async def _set_cors(bucket: Bucket) -> None:
    ours = {
        "ID": _id(bucket.address, "clients"),
        "AllowedOrigins": list(bucket.address.cors_origins),
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": _READ_HEADERS,
        "MaxAgeSeconds": 86400,
    }
    others = await _others(bucket, "get_bucket_cors", "CORSRules")
    await bucket.call("put_bucket_cors", CORSConfiguration={"CORSRules": [*others, ours]})


async def _set_lifecycle(bucket: Bucket) -> None:
    others = await _others(bucket, "get_bucket_lifecycle_configuration", "Rules")
    rules = [*others, *lifecycle(bucket.address)]
    await bucket.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})


def lifecycle(address: S3Address) -> list[dict[str, Any]]:
    """Our rules: uploads that nobody finishes end, originals are moved by age."""
    stale = {
        "ID": _id(address, "stale-uploads"),
        "Status": "Enabled",
        "Filter": {"Prefix": address.prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _STALE_UPLOAD_DAYS},
    }
    steps = (("STANDARD_IA", address.warm_days), ("GLACIER_IR", address.cold_days))
    moves = [{"Days": days, "StorageClass": storage_class} for storage_class, days in steps if days]
    if not moves:
        return [stale]
    aging = {
        "ID": _id(address, "originals"),
        "Status": "Enabled",
        "Filter": {"Prefix": f"{address.prefix}originals/"},
        "Transitions": moves,
    }
    return [stale, aging]


def _id(address: S3Address, name: str) -> str:
    """The ID of a rule of ours. Each prefix has its own: several instances may share a bucket."""
    return f"reelgraph-{address.prefix.strip('/').replace('/', '.')}{'-' if address.prefix else ''}{name}"


async def _others(bucket: Bucket, operation: str, name: str) -> Sequence[Mapping[str, Any]]:
    try:
        found = await bucket.call(operation)
    except S3Refused as refused:
        if refused.code in _NONE_YET:
            return []
        raise
    ours = {_id(bucket.address, rule) for rule in ("clients", "stale-uploads", "originals")}
    return [rule for rule in found.get(name, ()) if rule.get("ID") not in ours]
