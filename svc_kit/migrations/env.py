"""Alembic's environment, one for all services: connection and metadata come from `svc_kit.migrate`."""

from alembic import context

import svc_kit.migrations_mysql  # noqa: F401  (MySQL's operations, registered by being defined)

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=config.attributes["metadata"],
    # SQLite can't alter most of a table in place.
    render_as_batch=True,
    compare_type=True,
    # MySQL commits with every change of a table: a revision that is done must be known to be.
    transaction_per_migration=config.attributes["connection"].dialect.name == "mysql",
)
with context.begin_transaction():
    context.run_migrations()
