"""Migrates a database to the newest schema, from inside the program."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from features.contracts.errors import BadInput
from features.database import lock, reading, transaction

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: sa.Engine) -> None:
    """Run the missing migrations in one transaction. Of two processes at once, one waits."""
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    if _revision(engine) == head:
        return
    with transaction(engine) as connection:
        lock(connection, "migrations")
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise BadInput(
                f"the database is at revision {current!r}, which this version does not know",
                hint="Run the version of Shopwright that migrated it, or a newer one",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
