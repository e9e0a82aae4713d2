"""Tables of the feeds. All are keyed by the viewer or owner."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from feed_svc.schema import metadata
from svc_kit.db import blob

served_pages = Table(
    "served_pages",
    metadata,
    Column("owner", String(32), primary_key=True),
    Column("snapshot_id", String(32), primary_key=True),
    Column("first_position", Integer, primary_key=True, autoincrement=False),
    Column("entries", blob(), nullable=False),
    Column("served_at_ms", BigInteger, nullable=False),
)
Index("served_pages_by_age", served_pages.c.served_at_ms)

not_interested = Table(
    "not_interested",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("hashtags", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
Index("not_interested_newest", not_interested.c.user_id, not_interested.c.at_ms)

viewer_likes = Table(
    "viewer_likes",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    comment="A projection of engagement.*; at_ms 0: taken back.",
)
Index("viewer_likes_newest", viewer_likes.c.user_id, viewer_likes.c.at_ms)
