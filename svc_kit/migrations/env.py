"""Alembic's environment, one for all services: connection and metadata come from `svc_kit.migrate`."""

from alembic import context

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=config.attributes["metadata"],
    # SQLite can't alter most of a table in place.
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
