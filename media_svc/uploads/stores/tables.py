"""Uploads and avatars."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table, UniqueConstraint

from media_svc.schema import metadata

uploads = Table(
    "uploads",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("owner_id", BigInteger, nullable=False),
    Column("is_image", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("file_name", String(255), nullable=False),
    Column("content_type", String(100), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("part_size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("part_sha256", JSON, nullable=False),
    Column("handle", String(200), nullable=False),
    Column("set_id", BigInteger, nullable=False),
    Column("video_id", BigInteger, nullable=False),
    Column("progress_percent", Integer, nullable=False),
    Column("failure_code", String(64), nullable=False),
    Column("failure_reason", String(500), nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)
Index("uploads_by_digest", uploads.c.owner_id, uploads.c.sha256)
Index("uploads_by_owner", uploads.c.owner_id, uploads.c.state)
Index("uploads_by_set", uploads.c.set_id)
Index("uploads_by_handle", uploads.c.handle)
Index("uploads_by_expiry", uploads.c.state, uploads.c.expires_at_ms)

avatars = Table(
    "avatars",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("upload_id", BigInteger, nullable=False),
    Column("owner_id", BigInteger, nullable=False),
    Column("set_id", BigInteger, nullable=False),
    UniqueConstraint("upload_id"),
)
