"""Tables of accounts. Each row is found by its user's id, but for names, which are reserved in a table of their own."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from graph_svc.schema import metadata
from svc_kit.db import blob

usernames = Table(
    "usernames",
    metadata,
    Column("name_key", String(255), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("username", String(255), nullable=False),
    Column("display_name", String(255), nullable=False),
    Column("bio", Text, nullable=False),
    Column("avatar_url", Text, nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

interests = Table(
    "interests",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hashtags", Text, nullable=False, comment="JSON array of normalised hashtags"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, nullable=False),
    Column("device", String(255), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_used_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
)
Index("ix_sessions_user", sessions.c.user_id, sessions.c.last_used_at_ms)
Index("ix_sessions_ended", sessions.c.ended_at_ms)
Index("ix_sessions_expiry", sessions.c.expires_at_ms)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("token_hash", String(64), primary_key=True),
    Column("session_id", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger),
    Column("used_key_hash", String(64), nullable=False),
    Column("reply", blob(), nullable=False),
)
Index("ix_refresh_tokens_session", refresh_tokens.c.session_id)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("public_jwk", Text, nullable=False),
    Column("sealed_private", blob(), nullable=False),
    Column("active_at_ms", BigInteger, nullable=False),
)
