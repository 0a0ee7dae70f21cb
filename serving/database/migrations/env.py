"""How Alembic runs our migrations: on the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

import serving.database.desk_tables
import serving.database.tables  # noqa: F401 - both fill the MetaData
from features.database_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
