"""Alembic's entry: it is handed a connection by cloud_sync.migrate, so that there is one place that makes engines."""

from alembic import context

from cloud_sync import schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    # SQLite alters a table by copying it.
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
