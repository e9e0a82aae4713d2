"""Decisions on versions, training runs, and what replicas said of themselves."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Integer, String, Table

from rank_svc.schema import metadata
from rank_svc.versions.store import REASON_CHARS

decisions = Table(
    "model_decisions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(128), nullable=False),
    Column("previous", String(128), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("reason", String(REASON_CHARS), nullable=False),
    Column("report", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

trainings = Table(
    "model_trainings",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("ending", String(32), nullable=False),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("version", String(128), nullable=False),
    Column("reason", String(REASON_CHARS), nullable=False),
)

replicas = Table(
    "model_replicas",
    metadata,
    Column("holder", String(128), primary_key=True),
    Column("version", String(128), nullable=False),
    Column("created", String(32), nullable=False),
    Column("refused", String(REASON_CHARS), nullable=False),
    Column("recall", Double, nullable=False),
    Column("videos", Integer, nullable=False),
    Column("embedding_age_ms", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
