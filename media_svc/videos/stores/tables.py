"""Videos, and an author's videos by author."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, SmallInteger, String, Table, Text, UniqueConstraint

from media_svc.schema import metadata

videos = Table(
    "videos",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("upload_id", BigInteger, nullable=False),
    Column("set_id", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("failure_reason", String(500), nullable=False),
    Column("visibility", String(16), nullable=False),
    Column("allow_comments", Boolean, nullable=False),
    Column("caption", Text, nullable=False),
    Column("hashtags", JSON, nullable=False),
    Column("language", String(35), nullable=False),
    Column("media", JSON, nullable=False),
    # NULL unless it can be played: many rows share the absence, none a name.
    Column("play_id", String(32)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("upload_id"),
    UniqueConstraint("play_id"),
)
Index("videos_by_set", videos.c.set_id)
Index("videos_by_state", videos.c.state, videos.c.id)

author_videos = Table(
    "author_videos",
    metadata,
    Column("author_id", BigInteger, primary_key=True, autoincrement=False),
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("audience", SmallInteger, nullable=False),
)
Index("author_videos_by_audience", author_videos.c.author_id, author_videos.c.audience)
