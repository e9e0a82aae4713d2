"""The service's relational schema: one metadata for all domains, whose `stores/tables.py` add to it."""

from __future__ import annotations

from sqlalchemy import MetaData

from svc_kit.leases import lease_table
from svc_kit.uow import outbox_table, replies_table

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

outbox = outbox_table(metadata)
replies = replies_table(metadata)
leases = lease_table(metadata)
