"""The database's history, for alembic; `server.store.migrate` runs it."""
