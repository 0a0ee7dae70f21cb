"""Migrates a database to the newest schema, from inside the program.

Alembic takes a second to import, so it is imported only where migrations are missing.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from features.contracts.errors import BadInput
from features.database import has_table, lock, reading, transaction

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"


def upgrade(engine: sa.Engine) -> None:
    """Run the missing migrations in one transaction. Of two processes at once, one waits."""
    if _read_revision(engine) != newest_revision():
        _run_migrations(engine)


def newest_revision() -> str:
    """Return the revision of the last migration, which its file name begins with: r0005_..."""
    return max(path.name[1:5] for path in MIGRATIONS.glob("versions/r*.py"))


def _read_revision(engine: sa.Engine) -> str | None:
    if not has_table(engine, _VERSION_TABLE):
        return None
    with reading(engine) as connection:
        query = sa.text(f"SELECT version_num FROM {_VERSION_TABLE}")
        revision: str | None = connection.execute(query).scalar()
    return revision


def _run_migrations(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
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
