"""Tables of hashtags."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table

from feed_svc.schema import metadata
from svc_kit.db import ordered_text

NAME_CHARS = 100

tagged_videos = Table(
    "tagged_videos",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("written_at_ms", BigInteger, nullable=False),
)

hashtag_videos = Table(
    "hashtag_videos",
    metadata,
    Column("name", ordered_text(NAME_CHARS), primary_key=True),
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("present", Boolean, nullable=False),
)
Index(
    "hashtag_videos_newest",
    *(hashtag_videos.c.name, hashtag_videos.c.present, hashtag_videos.c.published_at_ms, hashtag_videos.c.video_id),
)
Index("hashtag_videos_of_video", hashtag_videos.c.video_id)

hashtags = Table(
    "hashtags",
    metadata,
    Column("name", ordered_text(NAME_CHARS), primary_key=True),
    Column("video_count", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
)
