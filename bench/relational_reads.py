"""Accounts and videos by id, 50 at a time, from PostgreSQL: our stores against asyncpg alone.

Both run the same statement on the same server and make the same objects; asyncpg on one connection that it keeps, with
no pool, no limits and no translated errors. Rounds alternate, and the middle one of each counts.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvloop
from sqlalchemy import MetaData

import graph_svc.schema
import media_svc.schema
from graph_svc.accounts.store import Account
from graph_svc.accounts.stores.sql import _ACCOUNTS, SqlAccountStore
from graph_svc.accounts.stores.tables import accounts
from media_svc.videos.store import VideoMedia, VideoRendition, VideoRow, VideoState, Visibility
from media_svc.videos.stores.sql import _VIDEOS, SqlVideoStore, _video
from media_svc.videos.stores.tables import videos
from svc_kit.clock import SystemClock
from svc_kit.databases.url import for_driver
from svc_kit.db import Database, connect
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.databases import fresh_database

ROWS, BATCH, CALLS, ROUNDS = 20_000, 50, 400, 9
Call = Callable[[Sequence[int]], Awaitable[object]]


def account(number: int) -> dict[str, Any]:
    return {
        "user_id": number << 22,
        "username": f"user_{number}",
        "display_name": f"User {number}",
        "bio": "Cats, trains, and what happens when they meet.",
        "avatar_url": f"http://media.test/a/{number:032x}",
        "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$" + "x" * 66,
        "created_at_ms": 1_800_000_000_000 + number,
        "version": 1,
    }


def video(number: int) -> dict[str, Any]:
    renditions = [
        {"width": side * 9 // 16, "height": side, "codec": "avc1.64001f", "bitrate_kbps": side}
        for side in (1080, 720, 360)
    ]
    media = {"duration_ms": 15_000, "width": 1080, "height": 1920, "has_audio": True, "renditions": renditions}
    return {
        "id": number << 22,
        "author_id": number % 500,
        "upload_id": number,
        "set_id": number,
        "state": "READY",
        "failure_reason": "",
        "visibility": "PUBLIC",
        "allow_comments": True,
        "caption": f"A cat meets train number {number} #cats #trains",
        "hashtags": ["cats", "trains", "日本"],
        "language": "en",
        "media": media,
        "play_id": f"{number:032x}",
        "created_at_ms": 1_800_000_000_000,
        "published_at_ms": 1_800_000_000_000,
        "version": 3,
    }


async def fill(db: Database, metadata: MetaData, table: Any, make: Callable[[int], Mapping[str, Any]]) -> None:
    async with db.write() as connection:
        await connection.run_sync(lambda c: metadata.create_all(c, [table]))
        for first in range(0, ROWS, 1000):
            await connection.execute(table.insert(), [make(n) for n in range(first, first + 1000)])
    async with db.read() as connection:
        await connection.exec_driver_sql(f"ANALYZE {table.name}")


async def measure(calls: Mapping[str, Call]) -> dict[str, tuple[float, float]]:
    """Microseconds of wall and CPU a call, by name."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            batches = [[n << 22 for n in random.sample(range(ROWS), BATCH)] for _ in range(CALLS)]
            wall, cpu = time.perf_counter(), time.process_time()
            for ids in batches:
                await call(ids)
            took = (time.perf_counter() - wall) / CALLS * 1e6, (time.process_time() - cpu) / CALLS * 1e6
            if number:  # the first warms up
                found[name].append(took)
    return {name: tuple(map(statistics.median, zip(*rounds, strict=True))) for name, rounds in found.items()}


def report(what: str, found: Mapping[str, tuple[float, float]]) -> None:
    ours = found["ours"]
    print(f"{what}, {BATCH} by id")
    for name, (wall, cpu) in found.items():
        ratios = f"ours is {ours[0] / wall:4.2f}x in time, {ours[1] / cpu:4.2f}x in CPU" if name != "ours" else ""
        print(f"  {name:<34} {wall:6.0f} us   {cpu:6.0f} us CPU   {ratios}")


def bare_video(r: Any) -> VideoRow:
    """A row as somebody would write it who has asyncpg alone."""
    media = r["media"]
    renditions = tuple(VideoRendition(**rendition) for rendition in media["renditions"])
    return VideoRow(
        r["id"],
        r["author_id"],
        r["upload_id"],
        r["set_id"],
        VideoState(r["state"]),
        r["failure_reason"],
        Visibility(r["visibility"]),
        r["allow_comments"],
        r["caption"],
        tuple(r["hashtags"]),
        r["language"],
        VideoMedia(media["duration_ms"], media["width"], media["height"], media["has_audio"], renditions),
        r["play_id"] or "",
        r["created_at_ms"],
        r["published_at_ms"],
        r["version"],
    )


async def bare(url: str) -> Any:
    connection = await asyncpg.connect(for_driver(url, {"jit": "off"}))
    await connection.set_type_codec("json", encoder=str, decoder=orjson.loads, schema="pg_catalog")
    return connection


async def main() -> None:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        async with fresh_database("postgres", Path(folder)) as url:
            db, connection = connect(url), await bare(url)
            await fill(db, graph_svc.schema.metadata, accounts, account)
            await fill(db, media_svc.schema.metadata, videos, video)
            account_store = SqlAccountStore(
                UnitOfWork(db, graph_svc.schema.outbox, graph_svc.schema.replies, IdGenerator(clock), clock)
            )
            video_store = SqlVideoStore(db)

            async def bare_accounts(ids: Sequence[int]) -> object:
                return {r[0]: Account(*r) for r in await connection.fetch(_ACCOUNTS.postgresql, ids)}

            async def bare_videos(ids: Sequence[int]) -> object:
                return [_video(r) for r in await connection.fetch(_VIDEOS.postgresql, ids)]

            async def plain_videos(ids: Sequence[int]) -> object:
                return [bare_video(r) for r in await connection.fetch(_VIDEOS.postgresql, ids)]

            assert await account_store.accounts([1 << 22]) == await bare_accounts([1 << 22])
            assert list(await video_store.videos([1 << 22])) == await plain_videos([1 << 22])
            report(
                "accounts",
                await measure(
                    {
                        "ours": account_store.accounts,
                        "asyncpg, the same objects": bare_accounts,
                        "asyncpg, its records": lambda ids: connection.fetch(_ACCOUNTS.postgresql, ids),
                    }
                ),
            )
            report(
                "videos",
                await measure(
                    {
                        "ours": video_store.videos,
                        "asyncpg, the same objects": bare_videos,
                        "asyncpg, plainly written objects": plain_videos,
                        "asyncpg, its records": lambda ids: connection.fetch(_VIDEOS.postgresql, ids),
                    }
                ),
            )
            await connection.close()
            await db.close()


if __name__ == "__main__":
    uvloop.run(main())
