"""One upload of 1 GiB through presigned parts into a real S3 server, against the bare driver presigning and the same
HTTP client putting the same bytes in the same run. What media_svc spends: it signs and completes, the bytes go past it.
Then the worker joins the parts and checks the whole, against the bare driver doing so.

`REELGRAPH_TEST_S3_URL` names the server, as for the tests. Nothing is left there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from reelgraph.media.v1.uploads_pb2 import (
    AbortUploadRequest,
    BeginUploadRequest,
    CompleteUploadRequest,
    StreamUploadRequest,
    UploadState,
)
from reelgraph.media.v1.uploads_pb2_grpc import UploadServiceStub
from svc_kit.caller import Caller, Role
from svc_kit.ending import cancel_all
from svc_kit.rpc.client import Peer, open_channel
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import Bucket, open_bucket
from svc_kit.service import Job
from tests.support.blobs import blob_url
from tests.support.media import media_bench
from tests.support.platform import SERVICE_TOKEN

PART, AT_ONCE, ROUNDS = 5 << 20, 4, 3
MIB = 1 << 20
USER = 1
MARK = "bench:"
T = TypeVar("T")


class Stream:
    """Bytes that no two parts share, made when they are asked for: a gigabyte is never in memory."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.count = -(-size_bytes // PART)
        self._block = os.urandom(PART)
        # Whoever uploads needs these; hashing is not what is measured.
        self.digests = [hashlib.sha256(data).hexdigest() for data in self.parts()]
        whole = hashlib.sha256()
        for data in self.parts():
            whole.update(data)
        self.sha256 = whole.hexdigest()

    def part(self, number: int) -> bytes:
        length = min(PART, self.size_bytes - (number - 1) * PART)
        return number.to_bytes(8, "big") + self._block[8:length]

    def parts(self) -> Iterator[bytes]:
        return (self.part(number) for number in range(1, self.count + 1))

    async def put(self, http: aiohttp.ClientSession, urls: list[tuple[str, dict[str, str]]]) -> dict[int, str]:
        """Put every part, `AT_ONCE` at a time; the tags by number."""
        numbers = iter(range(1, self.count + 1))
        tags: dict[int, str] = {}

        async def work() -> None:
            for number in numbers:
                url, headers = urls[number - 1]
                async with http.put(url, data=self.part(number), headers=headers) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"part {number}: {answer.status} {await answer.text()}")
                    tags[number] = answer.headers["ETag"]

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return tags


class Bare:
    """An upload without us: the driver begins, presigns and completes."""

    def __init__(self, bucket: Bucket, stream: Stream) -> None:
        self._bucket = bucket
        self._stream = stream
        self._place = {"Bucket": bucket.address.bucket, "Key": bucket.path("bare")}
        self._sums = [base64.b64encode(bytes.fromhex(digest)).decode() for digest in stream.digests]
        self._tags: dict[int, str] = {}

    async def upload(self, http: aiohttp.ClientSession) -> None:
        client = self._bucket._client
        begun = await client.create_multipart_upload(ChecksumAlgorithm="SHA256", **self._place)
        self._place["UploadId"] = begun["UploadId"]
        urls = []
        for number, (data, checksum) in enumerate(zip(self._stream.parts(), self._sums, strict=True), 1):
            signed = {**self._place, "PartNumber": number, "ContentLength": len(data), "ChecksumSHA256": checksum}
            url = await client.generate_presigned_url("upload_part", signed)
            urls.append((url, {"x-amz-checksum-sha256": checksum}))
        self._tags = await self._stream.put(http, urls)

    async def join_and_hash(self) -> None:
        parts = [
            {"PartNumber": number, "ETag": tag, "ChecksumSHA256": self._sums[number - 1]}
            for number, tag in sorted(self._tags.items())
        ]
        await self._bucket._client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **self._place)
        digest = hashlib.sha256()
        answer = await self._bucket._client.get_object(Bucket=self._place["Bucket"], Key=self._place["Key"])
        async with answer["Body"] as body:
            while piece := await body.read(MIB):
                digest.update(piece)
        assert digest.hexdigest() == self._stream.sha256

    async def abort(self) -> None:
        await self._bucket._client.abort_multipart_upload(**self._place)


class Service:
    """media_svc in a process of its own, called as the gateway does; its workers stand still."""

    def __init__(self, process: asyncio.subprocess.Process, caller: Caller, channel: Any) -> None:
        self._process = process
        self._caller = caller
        self._peer = Peer(SERVICE_TOKEN)
        self._uploads = UploadServiceStub(channel)
        self.pid = process.pid

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, url: str) -> AsyncIterator[Service]:
        command = (sys.executable, "-m", "bench.s3_upload", "--serve", str(folder), url)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdin
        try:
            token, socket = (await _line(process)).split()
            caller = Caller(USER, 1, Role.USER, token=token)
            async with open_channel(f"unix:{socket}") as channel:
                yield cls(process, caller, channel)
        finally:
            process.stdin.close()
            await process.wait()

    async def upload(self, stream: Stream, http: aiohttp.ClientSession) -> int:
        """What a client does: begin, put every part to the store, complete; the upload's id."""
        request = BeginUploadRequest(
            file_name="clip.mp4",
            content_type="video/mp4",
            size_bytes=stream.size_bytes,
            sha256=stream.sha256,
            part_sha256=stream.digests,
        )
        upload = (await self._call(self._uploads.BeginUpload, request)).upload
        await stream.put(http, [(part.url, {h.name: h.value for h in part.headers}) for part in upload.parts])
        await self._call(self._uploads.CompleteUpload, CompleteUploadRequest(upload_id=upload.id))
        return int(upload.id)

    async def abort(self, upload_id: int) -> None:
        await self._call(self._uploads.AbortUpload, AbortUploadRequest(upload_id=upload_id))

    async def verify(self, upload_id: int) -> None:
        """Let the verifier run until it is through with an upload."""
        assert self._process.stdin
        self._process.stdin.write(b"verify\n")
        stream = self._peer.stream(self._uploads.StreamUpload, StreamUploadRequest(upload_id=upload_id), self._caller)
        async for answer in stream:
            if answer.upload.state != UploadState.UPLOAD_STATE_VERIFYING:
                break
        self._process.stdin.write(b"pause\n")
        await _line(self._process)

    async def _call(self, method: Any, request: Any) -> Any:
        return await self._peer.call(method, request, self._caller)


async def _line(process: asyncio.subprocess.Process) -> str:
    """The next of the child's lines that is none of its logs."""
    assert process.stdout
    while line := (await process.stdout.readline()).decode():
        if line.startswith(MARK):
            return line.removeprefix(MARK)
    raise RuntimeError("the service ended")


async def _run(job: Job) -> None:
    await job.run()


async def serve(folder: Path, url: str) -> None:
    """The child."""
    async with media_bench(folder, blobs_url=url, work=False) as bench:
        (verifier,) = [job for job in bench.service.workers if job.name == "media.verify"]
        print(MARK, bench.caller(USER).token, bench.platform.sockets / "media.sock", flush=True)
        running: list[asyncio.Task[None]] = []
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if command == "verify":
                running.append(asyncio.create_task(_run(verifier)))
            else:
                await cancel_all(running)
                running.clear()
                print(MARK, flush=True)
        await cancel_all(running)


@dataclass
class Spent:
    """Seconds on the clock, and CPU seconds of this process, the store and media_svc."""

    wall: float
    client: float
    store: float
    media: float

    def line(self, what: str, size_bytes: int) -> str:
        speed = size_bytes / MIB / self.wall
        cpu = f"CPU client {self.client:5.2f}  store {self.store:5.2f}  media_svc {self.media:6.3f} s"
        return f"{what:<32} {self.wall:6.2f} s  {speed:5.0f} MiB/s   {cpu}"

    @property
    def share(self) -> float:
        """Of all CPU, media_svc's."""
        return self.media / (self.client + self.store + self.media)


async def spent(run: Awaitable[T], store_pid: int, media_pid: int) -> tuple[Spent, T]:
    """Run it, measured."""
    pids = (os.getpid(), store_pid, media_pid)
    before, began = [cpu_s(pid) for pid in pids], time.perf_counter()
    result = await run
    wall = time.perf_counter() - began
    client, store, media = (cpu_s(pid) - was for pid, was in zip(pids, before, strict=True))
    return Spent(wall, client, store, media), result


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process that live, to the nanosecond: ticks are too coarse here."""
    used = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        used += int(path.read_text().split()[0])
    return used / 1e9


def memory_mib(pid: int, field: str) -> float:
    """`VmRSS`, or `VmHWM`, the most it ever was."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def forget_peak(pid: int) -> None:
    """`VmHWM` begins anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def listener(port: int) -> int:
    """The process that listens on a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) in inodes:
                return int(fd.parts[2])
        except OSError:
            continue
    raise RuntimeError(f"nobody listens on port {port} here")


async def measure(bucket: Bucket, media: Service, size_bytes: int, store_pid: int) -> None:
    """Alternate the two; print each, and the ratios."""
    ratios: list[float] = []
    shares: list[float] = []
    async with aiohttp.ClientSession() as http:
        # Everything has been used once before it is measured.
        await Bare(bucket, small := Stream(PART)).upload(http)
        await media.verify(await media.upload(small, http))
        before = memory_mib(media.pid, "VmRSS")
        forget_peak(media.pid)
        bare, upload_id = Bare(bucket, small), 0
        for number in range(ROUNDS):
            if number:
                await bare.abort()
                await media.abort(upload_id)
            bare = Bare(bucket, stream := Stream(size_bytes))
            without, _ = await spent(bare.upload(http), store_pid, media.pid)
            ours, upload_id = await spent(media.upload(stream, http), store_pid, media.pid)
            print(without.line("bare driver presigns", size_bytes))
            print(ours.line("media_svc presigns", size_bytes), f"= {ours.share:.2%}")
            ratios.append(ours.wall / without.wall)
            shares.append(ours.share)
    grown = memory_mib(media.pid, "VmHWM") - before
    print(f"upload: {statistics.median(ratios):.3f}x, media_svc {statistics.median(shares):.2%} of all CPU (medians)")
    print(f"media_svc's memory: {before:.0f} MiB, at most {grown:+.1f} MiB")
    without, _ = await spent(bare.join_and_hash(), store_pid, media.pid)
    ours, _ = await spent(media.verify(upload_id), store_pid, media.pid)
    grown = memory_mib(media.pid, "VmHWM") - before
    print(without.line("bare driver joins, reads, hashes", size_bytes))
    print(ours.line("worker verifies", size_bytes))
    print(f"verification: {ours.wall / without.wall:.3f}x, memory at most {grown:+.1f} MiB")


async def main(size_bytes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="reelgraph-bench-") as name:
        async with blob_url("s3", Path(name)) as url, Service.start(Path(name), url) as media:
            address = parse_address(url)
            bucket = await open_bucket(address)
            try:
                await measure(bucket, media, size_bytes, listener(int(address.endpoint.rpartition(":")[2])))
            finally:
                await bucket.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2]), sys.argv[3]))
    else:
        asyncio.run(main(int(sys.argv[1]) * MIB if sys.argv[1:] else 1 << 30))
