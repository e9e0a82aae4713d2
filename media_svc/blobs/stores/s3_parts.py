"""Parts on the S3 API: a handle is a multipart upload, `<key>:<upload id>`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from media_svc.blobs.store import BlobStat, NoSuchParts, PartStat, is_key
from media_svc.blobs.stores.s3_part_list import take_parts
from svc_kit.errors import unavailable
from svc_kit.s3.bucket import TRANSFER_S, Bucket, S3Refused, at_ms, untagged
from svc_kit.telemetry import log

_log = log(__name__)
LEAST_PART_BYTES = 5 << 20
"""The protocol's own bound; the last part may be smaller."""
LONGEST_HANDLE = 200
_JOIN_ATTEMPTS = 3
_REPLACED = {"InvalidPart", "InvalidPartOrder"}


class Upload(NamedTuple):
    """What a handle says."""

    key: str
    id: str


def parse_handle(handle: str) -> Upload | None:
    """None when it is none of ours."""
    key, _, upload_id = handle.partition(":")
    return Upload(key, upload_id) if upload_id and is_key(key) else None


class S3Parts:
    """The part half of the blob store."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        bucket.before_parse("ListParts", take_parts)

    async def begin(self, key: str, *, with_digests: bool) -> str:
        """See `BlobStore.begin_parts`."""
        # Without it the store refuses parts that come with a digest; with it, parts that come without.
        checksums: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if with_digests else {}
        begun = await self._bucket.call_keeping("create_multipart_upload", key, TRANSFER_S, **checksums)
        handle = f"{key}:{begun['UploadId']}"
        if len(handle) > LONGEST_HANDLE:
            await self.drop(handle)
            _log.error("the store's upload ids are too long", longest=LONGEST_HANDLE, length=len(handle))
            raise unavailable("The object store can't be used for uploads.")
        return handle

    async def put(self, handle: str, number: int, data: Any, size_bytes: int, sha256: str) -> str:
        """Put one part from bytes or a file; returns its tag. Raises `NoSuchParts`."""
        upload = parse_handle(handle)
        if upload is None:
            raise NoSuchParts(handle)
        checksum: dict[str, Any] = {}
        if sha256:
            checksum["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        try:
            answer = await self._call(
                "upload_part", upload, PartNumber=number, Body=data, ContentLength=size_bytes, **checksum
            )
        except S3Refused as refused:
            raise _gone(refused, handle) from refused
        return untagged(answer["ETag"])

    async def listed(self, handle: str) -> list[Mapping[str, Any]] | None:
        """The store's own list of parts, by number; None when there is no such upload (any more)."""
        upload = parse_handle(handle)
        if upload is None:
            return None
        found: list[Mapping[str, Any]] = []
        marker: dict[str, Any] = {}
        while True:
            try:
                page = await self._call("list_parts", upload, **marker)
            except S3Refused as refused:
                if _is_gone(refused):
                    return None
                raise
            found += page.get("Parts", ())
            if not page.get("IsTruncated"):
                return sorted(found, key=lambda part: int(part["PartNumber"]))
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def stats(self, handle: str) -> Sequence[PartStat]:
        """See `BlobStore.list_parts`."""
        return [PartStat(part["PartNumber"], part["Size"]) for part in await self.listed(handle) or ()]

    async def join(self, handle: str, key: str, count: int) -> BlobStat:
        """See `BlobStore.join_parts`."""
        upload = parse_handle(handle)
        if upload is not None and upload.key != key:
            raise ValueError(f"the parts were begun for {upload.key}, not {key}")
        for _ in range(_JOIN_ATTEMPTS):
            parts = await self.listed(handle)
            if upload is None or parts is None or not _has_all(parts, count):
                # Joined before, when the answer was lost; nothing else makes a blob of this key.
                return await self._joined(handle, key, still_open=parts is not None)
            if await self._complete(upload, parts[:count]):
                return await self._joined(handle, key, still_open=False)
        raise unavailable("The parts are still changing.")

    async def _joined(self, handle: str, key: str, *, still_open: bool) -> BlobStat:
        found = await self._bucket.head(key)
        if found is None:
            raise NoSuchParts(key)
        if still_open:
            await self.drop(handle)
        return BlobStat(key, found.size_bytes, found.etag, found.modified_at_ms)

    async def _complete(self, upload: Upload, parts: Sequence[Mapping[str, Any]]) -> bool:
        """False when a part was replaced since it was listed."""
        named = [
            {name: part[name] for name in ("PartNumber", "ETag", "ChecksumSHA256") if part.get(name)} for part in parts
        ]
        try:
            await self._call("complete_multipart_upload", upload, MultipartUpload={"Parts": named})
        except S3Refused as refused:
            if refused.code in _REPLACED:
                return False
            if not _is_gone(refused):
                raise
        return True

    async def drop(self, handle: str) -> None:
        """See `BlobStore.drop_parts`."""
        upload = parse_handle(handle)
        if upload is None:
            return
        try:
            await self._call("abort_multipart_upload", upload)
        except S3Refused as refused:
            if not _is_gone(refused):
                raise

    async def abandoned(self, begun_before_ms: int) -> Sequence[str]:
        """See `BlobStore.abandoned_parts`."""
        found: list[str] = []
        prefix = self._bucket.address.prefix
        marker: dict[str, Any] = {}
        while True:
            page = await self._uploads(Prefix=prefix, **marker)
            for upload in page.get("Uploads", ()):
                key = str(upload["Key"]).removeprefix(prefix)
                if is_key(key) and at_ms(upload["Initiated"]) < begun_before_ms:
                    found.append(f"{key}:{upload['UploadId']}")
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def _uploads(self, **asked: Any) -> Mapping[str, Any]:
        try:
            return await self._bucket.call("list_multipart_uploads", **asked)
        except S3Refused as refused:
            if refused.code != "InvalidArgument" or "UploadIdMarker" not in asked:
                raise
            # versitygw 1.8 knows no upload of the marker's key. By key alone others of that key wait for another time.
            return await self._bucket.call(
                "list_multipart_uploads", Prefix=asked["Prefix"], KeyMarker=asked["KeyMarker"]
            )

    async def _call(self, operation: str, upload: Upload, **parameters: Any) -> Mapping[str, Any]:
        return await self._bucket.call(
            operation, TRANSFER_S, Key=self._bucket.path(upload.key), UploadId=upload.id, **parameters
        )


def sha256_of(data: bytes) -> bytes:
    """The digest that the store checks a body by."""
    return hashlib.sha256(data).digest()


def _has_all(parts: Sequence[Mapping[str, Any]], count: int) -> bool:
    return [part["PartNumber"] for part in parts[:count]] == list(range(1, count + 1))


def _is_gone(refused: S3Refused) -> bool:
    # An id that no upload can have is an invalid argument to some servers.
    return refused.code == "NoSuchUpload"


def _gone(refused: S3Refused, handle: str) -> Exception:
    return NoSuchParts(handle) if _is_gone(refused) else refused
