"""A local copy of what is below a prefix of a bucket, for programs that read files. Blocking."""

from __future__ import annotations

import asyncio
from pathlib import Path

from svc_kit.backends import EngineUnusable
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import PAGE, Bucket, open_bucket

_AT_A_TIME = 8


def mirror(url: str, prefix: str, folder: Path) -> int:
    """Copy the objects below `prefix` into `folder`, keys as paths; how many. Raises `EngineUnusable`, `AppError`."""
    return asyncio.run(_mirror(url, prefix, folder))


async def _mirror(url: str, prefix: str, folder: Path) -> int:
    bucket = await open_bucket(parse_address(url))
    try:
        copied, after = 0, ""
        while page := await bucket.list(prefix, after, PAGE):
            after = page[-1].key
            for start in range(0, len(page), _AT_A_TIME):
                some = page[start : start + _AT_A_TIME]
                await asyncio.gather(*(_copy(bucket, found.key, folder / found.key) for found in some))
            copied += len(page)
        return copied
    finally:
        await bucket.close()


async def _copy(bucket: Bucket, key: str, path: Path) -> None:
    if ".." in path.parts:
        raise EngineUnusable(f"object {key!r} would leave the folder that it is copied to")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        async for piece in bucket.read(key):
            file.write(piece)
