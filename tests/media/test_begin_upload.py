"""What beginUpload refuses, each with the field, the limit and the value; and whose upload it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from reelgraph.media.v1.uploads_pb2 import (
    AbortUploadRequest,
    BatchGetUploadsRequest,
    BeginUploadRequest,
    CompleteUploadRequest,
    UploadState,
)
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.clock import FakeClock
from tests.support.media import MediaBench, media_bench

GOOD: dict[str, Any] = {
    "file_name": "clip.mp4",
    "content_type": "video/mp4",
    "size_bytes": 100,
    "sha256": "ab" * 32,
}


async def _refused(bench: MediaBench, fields: dict[str, Any]) -> AppError:
    with pytest.raises(AppError) as refused:
        await bench.call(bench.uploads.BeginUpload, BeginUploadRequest(**{**GOOD, **fields}), 1)
    return refused.value


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"size_bytes": 0}, "size_bytes", UserCode.INVALID),
        ({"size_bytes": -1}, "size_bytes", UserCode.INVALID),
        ({"size_bytes": (2 << 30) + 1}, "size_bytes", UserCode.TOO_LARGE),
        ({"content_type": "image/png", "size_bytes": (5 << 20) + 1}, "size_bytes", UserCode.TOO_LARGE),
        ({"content_type": "text/html"}, "content_type", UserCode.INVALID),
        ({"sha256": "abc"}, "sha256", UserCode.INVALID),
        ({"sha256": "z" * 64}, "sha256", UserCode.INVALID),
        ({"part_sha256": ["ab" * 32] * 2}, "part_sha256", UserCode.INVALID),
        ({"part_sha256": ["nope"]}, "part_sha256.0", UserCode.INVALID),
        ({"file_name": ""}, "file_name", UserCode.REQUIRED),
        ({"file_name": "x" * 256}, "file_name", UserCode.TOO_LONG),
        ({"file_name": "a\x00b.mp4"}, "file_name", UserCode.INVALID),
        ({"file_name": "a\r\nX: y"}, "file_name", UserCode.INVALID),
        ({"idempotency_key": "k" * 15}, "idempotency_key", UserCode.TOO_SHORT),
        ({"idempotency_key": "k" * 65}, "idempotency_key", UserCode.TOO_LONG),
        ({"idempotency_key": "k" * 16 + "\x00"}, "idempotency_key", UserCode.INVALID),
    ],
)
async def test_a_wrong_field_is_named_with_its_limit(
    tmp_path: Path, fields: dict[str, Any], field: str, code: UserCode
) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        error = await _refused(bench, fields)
        assert [(v.field, v.code) for v in error.violations] == [(field, code)]
        assert list((tmp_path / "blobs/parts").iterdir()) == []


async def test_an_account_has_ten_open_uploads_at_most(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        begun = [await bench.begin(1, os.urandom(10)) for _ in range(10)]
        error = await _refused(bench, {})
        assert error.user_code is UserCode.CONFLICT and "10" in error.message
        await bench.call(bench.uploads.AbortUpload, AbortUploadRequest(upload_id=begun[0].id), 1)
        await bench.begin(1, os.urandom(10))
        assert len(list((tmp_path / "blobs/parts").iterdir())) == 10


async def test_an_account_has_a_quota_of_bytes(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False, quota_bytes=150) as bench:
        await bench.begin(1, os.urandom(100))
        error = await _refused(bench, {})
        assert error.user_code is UserCode.TOO_LARGE and "50" in error.message
        await bench.begin(2, os.urandom(100))


async def test_uploads_are_begun_at_a_limited_rate(tmp_path: Path) -> None:
    async with media_bench(tmp_path, clock=FakeClock(), work=False, begin_uploads_per_viewer=2) as bench:
        for _ in range(2):
            await bench.begin(1, b"x" * 50)
        error = await _refused(bench, {})
        assert error.reason is Reason.RATE_LIMITED and error.retry_after_ms


async def test_parts_grow_beyond_a_thousand(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        upload = await bench.call(bench.uploads.BeginUpload, BeginUploadRequest(**{**GOOD, "size_bytes": 2 << 30}), 1)
        assert upload.upload.part_size_bytes == 5 << 20
    async with media_bench(tmp_path, work=False, part_bytes=1 << 20, max_parts=10) as bench:
        request = BeginUploadRequest(**{**GOOD, "sha256": "cd" * 32, "size_bytes": (25 << 20) + 1})
        upload = (await bench.call(bench.uploads.BeginUpload, request, 1)).upload
        assert (upload.part_size_bytes, len(upload.parts)) == (3 << 20, 9)


async def test_a_key_used_again_answers_as_at_first_and_another_input_is_refused(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        key = "0123456789abcdef"
        first = await bench.begin(1, b"a" * 10, idempotency_key=key)
        await bench.call(bench.uploads.AbortUpload, AbortUploadRequest(upload_id=first.id), 1)
        assert (await bench.begin(1, b"a" * 10, idempotency_key=key)).id == first.id
        with pytest.raises(AppError) as refused:
            await bench.begin(1, b"b" * 10, idempotency_key=key)
        assert refused.value.user_code is UserCode.KEY_REUSED


async def test_somebody_elses_upload_does_not_exist_and_a_forged_token_is_refused(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        upload = await bench.begin(1, b"a" * 10)
        found = await bench.call(bench.uploads.BatchGetUploads, BatchGetUploadsRequest(ids=[upload.id, 99]), 2)
        assert list(found.uploads) == []
        for method, request in (
            (bench.uploads.CompleteUpload, CompleteUploadRequest(upload_id=upload.id)),
            (bench.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id)),
        ):
            with pytest.raises(AppError) as refused:
                await bench.call(method, request, 2)
            assert refused.value.reason is Reason.NOT_FOUND
        with pytest.raises(AppError) as anonymous:
            await bench.call(bench.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id), 0)
        assert anonymous.value.reason is Reason.UNAUTHENTICATED
        good = bench.platform.tokens.issue(1)
        expired = bench.platform.tokens.issue(1, lifetime_s=-10)
        for token in (good[:-4] + "AAAA", expired, "nonsense"):
            forged = Caller(1, token=token)
            with pytest.raises(AppError) as wrong:
                await bench.platform.peer.call(
                    bench.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id), forged
                )
            assert wrong.value.reason is Reason.UNAUTHENTICATED
        assert (await bench.get(1, upload.id)).state == UploadState.UPLOAD_STATE_RECEIVING


async def test_a_digest_with_another_length_is_another_upload(tmp_path: Path) -> None:
    async with media_bench(tmp_path, work=False) as bench:
        digest = hashlib.sha256(b"a").hexdigest()
        one = await bench.begin(1, b"a" * 10, sha256=digest)
        assert (await bench.begin(1, b"a" * 11, sha256=digest)).id != one.id
        assert (await bench.begin(2, b"a" * 10, sha256=digest)).id != one.id
