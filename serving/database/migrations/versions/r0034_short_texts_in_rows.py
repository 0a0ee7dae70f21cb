"""On PostgreSQL, the short texts of suggestions in their rows.

Rows are kept small by moving their largest values out (0012). With the reasons gone, ids and titles
were the largest that were left, and every search for an id read them one by one. Rows of before
keep their texts where they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _store_texts("main")


def downgrade() -> None:
    _store_texts("extended")


def _store_texts(storage: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    columns = sa.inspect(op.get_bind()).get_columns("price_suggestions")
    for column in columns:
        if isinstance(column["type"], sa.Text):
            name = f"price_suggestions ALTER COLUMN {column['name']}"
            op.execute(f"ALTER TABLE {name} SET STORAGE {storage}")
