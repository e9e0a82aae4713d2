"""What the counters of engagement must say, counted from rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.engagement.counting import KINDS, Count
from graph_svc.engagement.stores.tables import comment_likes, comments, likes, shares
from graph_svc.schema import counters
from svc_kit.counters import Key


async def counted_rows(connection: AsyncConnection) -> Mapping[Key, int]:
    """The true total of every counter that has rows, and 0 for every one that has a sum but no row."""
    parts = counters.parts.c
    known = select(parts.subject, parts.kind).where(parts.kind.in_(KINDS)).distinct()
    totals: dict[Key, int] = {(row.subject, row.kind): 0 for row in await connection.execute(known)}
    for kind, query in _queries():
        totals.update({(row.subject, kind): int(row.total) for row in await connection.execute(query)})
    return totals


def _queries() -> Iterator[tuple[str, Select[*tuple[Any, ...]]]]:
    yield Count.LIKES, _count(likes.c.video_id, likes.c.active)
    yield Count.RECEIVED_LIKES, _count(likes.c.author_id, likes.c.active)
    yield Count.COMMENTS, _count(comments.c.video_id, comments.c.text.is_not(None))
    yield Count.REPLIES, _count(comments.c.parent_id, comments.c.text.is_not(None), comments.c.parent_id != 0)
    yield Count.COMMENT_LIKES, _count(comment_likes.c.comment_id, comment_likes.c.active)
    yield Count.SHARES, _count(shares.c.video_id)


def _count(subject: ColumnElement[int], *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return select(subject.label("subject"), func.count().label("total")).where(*where).group_by(subject)
