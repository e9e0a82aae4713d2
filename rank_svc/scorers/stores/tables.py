"""The record of which model version serves."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from rank_svc.schema import metadata

promotions = Table(
    "model_promotions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(128), nullable=False),
    Column("previous", String(128), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)
