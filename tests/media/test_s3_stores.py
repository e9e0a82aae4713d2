"""The parts of the S3 adapter that no server here can show: classes and rules that it lacks, a full disk."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from media_svc.blobs.stores import s3_files, s3_upkeep
from media_svc.blobs.stores.s3_files import Scratch
from svc_kit.errors import AppError, Reason
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import Bucket
from tests.support.clock import FakeClock

ADDRESS = "s3://host/media?prefix=p&storage_classes=archive:COLD&warm_days=10&cold_days=90"


class _Client:
    """A store that has no storage classes, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def put_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if "StorageClass" in asked:
            raise ClientError({"Error": {"Code": "InvalidStorageClass"}}, "PutObject")
        return {"ETag": '"tag"'}


async def test_what_is_put_where_a_class_is_wanted_gets_it_and_a_store_without_it_is_asked_once() -> None:
    client = _Client()
    bucket = Bucket(parse_address(ADDRESS), client, None, AsyncExitStack(), FakeClock())
    assert await bucket.put("archive/x", b"x", b"digest") == "tag"
    await bucket.put("archive/y", b"y", b"digest")
    await bucket.put("sets/1/z", b"z", b"digest")
    asked = [(call["Key"], call.get("StorageClass")) for call in client.asked]
    assert asked == [("p/archive/x", "COLD"), ("p/archive/x", None), ("p/archive/y", None), ("p/sets/1/z", None)]


def test_originals_are_moved_by_age_and_stale_uploads_end() -> None:
    stale, aging = s3_upkeep.lifecycle(parse_address(ADDRESS))
    assert (stale["Filter"], stale["AbortIncompleteMultipartUpload"]) == ({"Prefix": "p/"}, {"DaysAfterInitiation": 7})
    assert aging["Filter"] == {"Prefix": "p/originals/"}
    assert [(move["Days"], move["StorageClass"]) for move in aging["Transitions"]] == [
        (10, "STANDARD_IA"),
        (90, "GLACIER_IR"),
    ]
    assert len(s3_upkeep.lifecycle(parse_address("s3://host/media?warm_days=0"))) == 1


def test_rules_of_instances_that_share_a_bucket_have_names_of_their_own() -> None:
    names = [
        {rule["ID"] for rule in s3_upkeep.lifecycle(parse_address(f"s3://host/media?prefix={prefix}"))}
        for prefix in ("", "a", "b", "a/b")
    ]
    assert len(set.union(*names)) == 8


async def _bytes(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_copy_is_gone_after_its_use_and_one_too_large_for_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = Scratch(tmp_path)
    scratch.prepare()
    async with scratch.copy(6, _bytes(b"abc", b"def")) as path:
        assert path.read_bytes() == b"abcdef"
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(s3_files, "SPARE_BYTES", 1 << 60)
    with pytest.raises(AppError) as failed:
        async with scratch.copy(6, _bytes(b"abcdef")):
            pass
    assert failed.value.reason is Reason.UNAVAILABLE and os.listdir(tmp_path) == []


async def test_a_blob_that_breaks_off_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(AppError) as failed:
        async with Scratch(tmp_path).copy(6, _bytes(b"abc")):
            pass
    assert failed.value.reason is Reason.UNAVAILABLE and os.listdir(tmp_path) == []


def _hold_and_wait(folder: str, ready: Any) -> None:
    async def hold() -> None:
        async with Scratch(Path(folder)).copy(3, _bytes(b"abc")):
            ready.set()
            await asyncio.Event().wait()

    asyncio.run(hold())


def test_a_copy_of_a_killed_process_is_removed_at_the_next_start_and_none_in_use(tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    ready = spawning.Event()
    child = spawning.Process(target=_hold_and_wait, args=(str(tmp_path), ready))
    child.start()
    try:
        assert ready.wait(60)
        Scratch(tmp_path).prepare()
        assert len(os.listdir(tmp_path)) == 1
    finally:
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    Scratch(tmp_path).prepare()
    assert os.listdir(tmp_path) == []
