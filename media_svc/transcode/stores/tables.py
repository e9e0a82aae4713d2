"""Media sets, who uses them, and digests that nobody may bring back."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, UniqueConstraint

from media_svc.schema import metadata

media_sets = Table(
    "media_sets",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("is_image", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("blob_key", String(200), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("progress_percent", Integer, nullable=False),
    Column("failure_code", String(64), nullable=False),
    Column("failure_reason", String(500), nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("has_audio", Boolean, nullable=False),
    Column("renditions", JSON, nullable=False),
    # NULL while an upload uses it.
    Column("unused_since_ms", BigInteger),
    UniqueConstraint("digest"),
)
Index("media_sets_unused", media_sets.c.unused_since_ms)
Index("media_sets_by_blob", media_sets.c.blob_key)

set_refs = Table(
    "set_refs",
    metadata,
    Column("set_id", BigInteger, primary_key=True, autoincrement=False),
    Column("upload_id", BigInteger, primary_key=True, autoincrement=False),
)

banned_digests = Table(
    "banned_digests",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("reason", String(500), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
