"""Tables of features. Keyed by video or by viewer, so that they can be sharded by either."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, String, Table, Text

from rank_svc.schema import metadata


def _id(name: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


videos = Table(
    "videos",
    metadata,
    _id("video_id"),
    Column("author_id", BigInteger, nullable=False),
    Column("hashtags", Text, nullable=False),
    Column("language", String(35), nullable=False),
    Column("visibility", String(16), nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("has_audio", Boolean, nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("published", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("servable", Boolean, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
)
Index("videos_by_change", videos.c.changed_at_ms, videos.c.video_id)
Index("videos_by_age", videos.c.servable, videos.c.published_at_ms)

video_stats = Table(
    "video_stats",
    metadata,
    _id("video_id"),
    *(_count(name) for name in ("impressions", "views", "completions", "skips", "watched_ms")),
    Column("ratio_sum", Double, nullable=False, server_default="0"),
    *(_count(name) for name in ("likes", "shares", "comments", "not_interested")),
    Column("heat_1h", Double),
    Column("heat_24h", Double),
    *(Column(name, Double, nullable=False, server_default="0") for name in ("trusted_views", "trusted_completions")),
)

video_slices = Table(
    "video_slices",
    metadata,
    _id("video_id"),
    Column("slice", String(48), primary_key=True),
    Column("heat", Double),
)
Index("video_slices_by_heat", video_slices.c.slice, video_slices.c.heat)

length_buckets = Table(
    "length_buckets",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    *(_count(name) for name in ("views", "completions", "watched_ms")),
    Column("ratio_sum", Double, nullable=False, server_default="0"),
)

author_stats = Table("author_stats", metadata, _id("author_id"), _count("followers"))

viewer_history = Table(
    "viewer_history",
    metadata,
    _id("viewer_id"),
    _id("video_id"),
    Column("author_id", BigInteger, nullable=False),
    Column("watched_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    *(
        Column(name, Boolean, nullable=False)
        for name in ("liked", "completed", "skipped", "not_interested", "shared", "commented")
    ),
    Column("like_version", BigInteger, nullable=False),
    _count("watched_at_ms"),
)
Index("viewer_history_by_time", viewer_history.c.viewer_id, viewer_history.c.at_ms)

viewers = Table(
    "viewers",
    metadata,
    _id("viewer_id"),
    Column("interests", Text, nullable=False),
    Column("interests_version", BigInteger, nullable=False),
    Column("language", String(35), nullable=False),
    Column("region", String(8), nullable=False),
    Column("utc_offset_hours", Integer, nullable=False),
    Column("device", String(16), nullable=False, server_default=""),
    Column("changed_at_ms", BigInteger, nullable=False),
)
Index("viewers_by_change", viewers.c.changed_at_ms, viewers.c.viewer_id)

counted_events = Table("counted_events", metadata, _id("key"), Column("at_ms", BigInteger, nullable=False))
Index("counted_events_by_age", counted_events.c.at_ms)
