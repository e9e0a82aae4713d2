"""Tables of fan-out."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text

from feed_svc.schema import metadata

timelines = Table(
    "author_timelines",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("visibility", String(16), nullable=False),
    Column("hashtags", Text, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("language", String(35), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("written_at_ms", BigInteger, nullable=False),
)
Index("author_timelines_newest", timelines.c.author_id, timelines.c.published_at_ms, timelines.c.video_id)
Index("author_timelines_public", timelines.c.visibility, timelines.c.published_at_ms, timelines.c.video_id)

fanout_jobs = Table(
    "fanout_jobs",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("withdraw", Boolean, nullable=False),
    Column("last_follower_id", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("holder", String(96), nullable=False),
    Column("leased_until_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
Index("fanout_jobs_open", fanout_jobs.c.done, fanout_jobs.c.created_at_ms)

pulled_authors = Table(
    "pulled_authors",
    metadata,
    Column("author_id", BigInteger, primary_key=True, autoincrement=False),
)

activity = Table(
    "viewer_activity",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("active_at_ms", BigInteger, nullable=False),
)
Index("viewer_activity_by_time", activity.c.active_at_ms)
