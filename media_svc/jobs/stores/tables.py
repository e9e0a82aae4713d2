"""Jobs."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, UniqueConstraint

from media_svc.schema import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at_ms", BigInteger, nullable=False),
    # Empty: nobody holds it. Otherwise the holder, and a random word for the claim.
    Column("holder", String(96), nullable=False),
    Column("claim", String(32), nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("last_error", String(500), nullable=False),
    UniqueConstraint("kind", "subject_id"),
)
Index("jobs_due", jobs.c.kind, jobs.c.due_at_ms)
