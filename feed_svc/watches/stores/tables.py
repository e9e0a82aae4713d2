"""Tables of what viewers did. All are keyed by the viewer."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from feed_svc.schema import metadata

watches = Table(
    "watches",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("watch_id", String(36), primary_key=True),
    Column("video_id", BigInteger, nullable=False),
    Column("author_id", BigInteger, nullable=False),
    Column("watched_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("completed", Boolean, nullable=False),
    Column("skipped", Boolean, nullable=False),
    Column("snapshot_id", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("hashtags", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
Index("watches_newest", watches.c.user_id, watches.c.at_ms)
Index("watches_by_video", watches.c.video_id)

watch_history = Table(
    "watch_history",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("watched_at_ms", BigInteger, nullable=False),
    Column("watched_ms", BigInteger, nullable=False),
)
Index("watch_history_newest", watch_history.c.user_id, watch_history.c.watched_at_ms, watch_history.c.video_id)

viewer_actions = Table(
    "viewer_actions",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    comment="Grows with everything a viewer does that changes their feed.",
)
