"""Tables of moderation."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, UniqueConstraint

from graph_svc.schema import metadata

reports = Table(
    "reports",
    metadata,
    Column("report_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reporter_id", BigInteger, nullable=False),
    Column("subject", String(16), nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("resolution", String(16), nullable=False),
    Column("moderator_id", BigInteger),
    Column("resolved_at_ms", BigInteger),
    UniqueConstraint("reporter_id", "subject", "subject_id"),
)
Index("ix_reports_queue", reports.c.resolution, reports.c.report_id)

takedowns = Table(
    "takedowns",
    metadata,
    Column("video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("moderator_id", BigInteger, nullable=False),
    Column("taken_down_at_ms", BigInteger, nullable=False),
)
