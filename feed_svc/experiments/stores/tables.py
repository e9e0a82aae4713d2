"""Tables of the experiments."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from feed_svc.schema import metadata

experiment_exposures = Table(
    "experiment_exposures",
    metadata,
    Column("owner", String(32), primary_key=True),
    Column("experiment", String(32), primary_key=True),
    Column("arm", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    comment="Who met which experiment, once each.",
)

experiment_stops = Table(
    "experiment_stops",
    metadata,
    Column("experiment", String(32), primary_key=True),
    Column("arm", String(32), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("reason", String(255), nullable=False),
    comment="Arms that a guardrail stopped.",
)
