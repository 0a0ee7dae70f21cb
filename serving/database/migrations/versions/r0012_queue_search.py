"""The search text of suggestions, and the indexes by which a grid of the queue is read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
_PART = 10_000
_DUE = {
    "expires_at": "expires_at IS NOT NULL",
    "ends_at": "ends_at IS NOT NULL",
    "effective_from": "status = 'scheduled'",
}
_GRID = (
    "status",
    "zone",
    "category",
    "item_id",
    "title",
    "search_text",
    "share_change",
    "gain_minor",
    "evidence_grade",
    "binding_rule",
    "created_at",
    "proposed_by",
    "run_id",
    "effective_from",
    "decided_at",
)


def upgrade() -> None:
    op.add_column(
        "price_suggestions",
        sa.Column("search_text", sa.Text, nullable=False, server_default=""),
    )
    _fill_search_texts(op.get_bind())
    for name, condition in _DUE.items():
        op.create_index(
            f"ix_price_suggestions_due_{name}",
            "price_suggestions",
            ["status", name],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_price_suggestions_grid", "price_suggestions", list(_GRID))
    else:
        # Such an index would refuse long titles. The reasons are kept beside the rows instead.
        op.execute("ALTER TABLE price_suggestions SET (toast_tuple_target = 256)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_price_suggestions_grid", "price_suggestions")
    else:
        op.execute("ALTER TABLE price_suggestions RESET (toast_tuple_target)")
    for name in _DUE:
        op.drop_index(f"ix_price_suggestions_due_{name}", "price_suggestions")
    op.drop_column("price_suggestions", "search_text")


def _fill_search_texts(connection: sa.Connection) -> None:
    """Case-fold in Python: the databases differ in which letters they know."""
    table = sa.table(
        "price_suggestions",
        sa.column("seq", sa.BigInteger),
        sa.column("item_id", sa.Text),
        sa.column("title", sa.Text),
        sa.column("search_text", sa.Text),
    )
    last = 0
    query = sa.select(table.c.seq, table.c.item_id, table.c.title).order_by(table.c.seq)
    while rows := connection.execute(query.where(table.c.seq > last).limit(_PART)).all():
        connection.execute(
            table.update()
            .where(table.c.seq == sa.bindparam("number"))
            .values(search_text=sa.bindparam("text")),
            [
                {"number": row.seq, "text": f"{row.item_id} {row.title or ''}".casefold()}
                for row in rows
            ],
        )
        last = rows[-1].seq
