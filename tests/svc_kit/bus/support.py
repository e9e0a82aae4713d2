"""A service's database with an outbox, and events to put there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import MetaData, Table

from reelgraph.events.v1.engagement_pb2 import EngagementVideoLiked, EngagementVideoUnliked
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.port import Record
from svc_kit.caller import Caller
from svc_kit.clock import Clock
from svc_kit.counters import Delta, counter_tables
from svc_kit.db import Database
from svc_kit.ids import IdGenerator
from svc_kit.leases import lease_table
from svc_kit.uow import SqlTx, UnitOfWork, begin, outbox_table, replies_table
from tests.support.databases import opened_database

TOPICS = ["engagement"]


def metadata() -> tuple[MetaData, tuple[Table, Table]]:
    """All tables of the kit, as a service would declare them."""
    data = MetaData()
    tables = (outbox_table(data), replies_table(data))
    counter_tables(data)
    lease_table(data)
    return data, tables


_TABLES, _ = metadata()


@asynccontextmanager
async def database(folder: Path, engine: str = "sqlite") -> AsyncIterator[Database]:
    """A database with the kit's tables, empty."""
    async with opened_database(engine, folder, _TABLES) as db:
        yield db


def unit_of_work(db: Database, clock: Clock) -> UnitOfWork:
    """A unit of work over `db`."""
    _, (outbox, replies) = metadata()
    return UnitOfWork(db, outbox, replies, IdGenerator(clock), clock)


async def like(uow: UnitOfWork, user: int, video: int, version: int = 1, *, undo: bool = False) -> int:
    """Commit one like (or its undoing); the event's id."""
    async with begin(SqlTx, uow, Caller(user_id=user)) as tx:
        entity = f"video_like:{video}:{user}"
        if undo:
            gone = EngagementVideoUnliked(video_id=video)
            return tx.emit(entity=entity, version=version, actor_id=user, engagement_video_unliked=gone)
        liked = EngagementVideoLiked(video_id=video)
        return tx.emit(entity=entity, version=version, actor_id=user, engagement_video_liked=liked)


def deltas_of(event: Event) -> list[Delta]:
    """What likes count."""
    kind = event.WhichOneof("body")
    if kind == "engagement_video_liked":
        return [(event.engagement_video_liked.video_id, "likes", 1), (event.actor_id, "liked", 1)]
    if kind == "engagement_video_unliked":
        return [(event.engagement_video_unliked.video_id, "likes", -1), (event.actor_id, "liked", -1)]
    return []


def liked_record(event_id: int, user: int = 1, video: int = 2, entity: str = "", request_id: str = "") -> Record:
    """A like as it is on the bus."""
    entity = entity or f"video_like:{video}:{user}"
    event = Event(id=event_id, actor_id=user, entity=entity, entity_version=1, request_id=request_id)
    event.engagement_video_liked.video_id = video
    return Record("engagement", user, event_id, entity, event.SerializeToString())
