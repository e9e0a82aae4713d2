"""Tables of the embedded notification log and of the watermarks, keyed by receiver."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table

from graph_svc.schema import metadata

notification_facts = Table(
    "notification_facts",
    metadata,
    Column("receiver_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("actor_id", BigInteger, nullable=False),
    Column("target", String(24), nullable=False),
    Column("subject", String(24), nullable=False),
    Column("video_id", BigInteger, nullable=False),
    Column("comment_id", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("arrival", BigInteger, nullable=False),
)
Index("notification_facts_by_arrival", notification_facts.c.receiver_id, notification_facts.c.arrival, unique=True)

# Who may be told what once a day, and by which fact it was (or was not) told.
notification_claims = Table(
    "notification_claims",
    metadata,
    Column("receiver_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("actor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", String(24), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("fact_id", BigInteger, nullable=False),
    Column("told", Boolean, nullable=False),
)

notification_marks = Table(
    "notification_marks",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("up_to_id", BigInteger, nullable=False),
)
