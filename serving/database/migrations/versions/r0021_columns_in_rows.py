"""Short columns of suggestions stay in their rows on PostgreSQL, whose JSON is kept beside them.

The target of r0012 moved categories and search texts out of the rows too, so that filters fetched
each value of a hundred thousand rows from another table.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
_COLUMNS = ("item_id", "zone", "category", "title", "search_text", "reason", "returned_reason")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    _set_storage("MAIN")
    # What was moved out comes back.
    op.execute(
        "UPDATE price_suggestions SET category = category || '', search_text = search_text || '',"
        " title = title || ''"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        _set_storage("EXTENDED")


def _set_storage(storage: str) -> None:
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE price_suggestions ALTER COLUMN {name} SET STORAGE {storage}")
