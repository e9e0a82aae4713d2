"""Tables of trending."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, String, Table
from sqlalchemy.dialects.mysql import DOUBLE

from feed_svc.schema import metadata

trending_videos = Table(
    "trending_videos",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("put_at_ms", BigInteger, nullable=False),
    Column("standing", Float(53).with_variant(DOUBLE(asdecimal=False), "mysql"), nullable=False),
    Column("viral_at_ms", BigInteger),
)
Index("trending_videos_top", trending_videos.c.shown, trending_videos.c.standing, trending_videos.c.video_id)

trending_views = Table(
    "trending_views",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("views", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
)
Index("trending_views_changed", trending_views.c.changed_at_ms, trending_views.c.video_id)

trending_acts = Table(
    "trending_acts",
    metadata,
    Column("entity", String(128), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("video_id", BigInteger, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("views", BigInteger, nullable=False),
    Column("weight_milli", BigInteger, nullable=False),
    Column("fresh_milli", BigInteger, nullable=False, server_default="0"),
)
Index("trending_acts_by_bucket", trending_acts.c.bucket)
Index("trending_acts_of_video", trending_acts.c.video_id, trending_acts.c.bucket)

trending_buckets = Table(
    "trending_buckets",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("views", BigInteger, nullable=False),
    Column("weight_milli", BigInteger, nullable=False),
    Column("fresh_milli", BigInteger, nullable=False, server_default="0"),
)
Index("trending_buckets_by_bucket", trending_buckets.c.bucket, trending_buckets.c.video_id)
