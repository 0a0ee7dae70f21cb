"""Everything: events, ledger, exposures, consent, price desk, audit, keys, idempotency."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("price_ledger", "audit_log")


def upgrade() -> None:
    _events()
    _exposures()
    _user_consent()
    _price_ledger()
    _price_suggestions()
    _audit_log()
    _api_keys()
    _idempotency_keys()
    for table in APPEND_ONLY:
        _forbid_changes(table)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("visitor_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Double(), nullable=True),
        sa.Column("line_amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("unit_price_minor", sa.Double(), nullable=True),
        sa.Column("list_price_minor", sa.Double(), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("recommendation_id", sa.Text(), nullable=True),
        sa.Column("placement", sa.Text(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_occurred_at"), "events", ["occurred_at"], unique=False)
    op.create_index(op.f("ix_events_received_at"), "events", ["received_at"], unique=False)
    op.create_index(
        op.f("ix_events_session_id_occurred_at"),
        "events",
        ["session_id", "occurred_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_events_user_id_occurred_at"), "events", ["user_id", "occurred_at"], unique=False
    )
    op.create_index(
        op.f("ix_events_visitor_id_occurred_at"),
        "events",
        ["visitor_id", "occurred_at"],
        unique=False,
    )


def _exposures() -> None:
    op.create_table(
        "exposures",
        sa.Column("exposure_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("exposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recommendation_id", sa.Text(), nullable=True),
        sa.Column("placement", sa.Text(), nullable=True),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=True),
        sa.Column("propensity", sa.Double(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "propensity IS NULL OR (propensity > 0 AND propensity <= 1)",
            name=op.f("ck_exposures_propensity_is_share"),
        ),
        sa.PrimaryKeyConstraint("exposure_id", name=op.f("pk_exposures")),
    )
    op.create_index(
        op.f("ix_exposures_experiment_unit_id_exposed_at"),
        "exposures",
        ["experiment", "unit_id", "exposed_at"],
        unique=False,
    )
    op.create_index(op.f("ix_exposures_unit_id"), "exposures", ["unit_id"], unique=False)


def _user_consent() -> None:
    op.create_table(
        "user_consent",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("personalization_allowed", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_consent")),
    )


def _price_ledger() -> None:
    op.create_table(
        "price_ledger",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("list_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("offer_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("promotion_id", sa.Text(), nullable=True),
        sa.Column("suggestion_id", sa.Text(), nullable=True),
        sa.Column("reverts_price_id", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "source IN ('imported', 'observed', 'desk', 'rollback')",
            name=op.f("ck_price_ledger_known_source"),
        ),
        sa.CheckConstraint(
            "offer_price_minor >= 0 AND offer_price_minor <= list_price_minor",
            name=op.f("ck_price_ledger_offer_within_list"),
        ),
        sa.CheckConstraint(
            "valid_to IS NULL OR valid_to > valid_from",
            name=op.f("ck_price_ledger_ends_after_start"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_price_ledger")),
        sa.UniqueConstraint("price_id", name=op.f("uq_price_ledger_price_id")),
        sa.UniqueConstraint("reverts_price_id", name=op.f("uq_price_ledger_reverts_price_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_price_ledger_item_id_zone_valid_from_seq"),
        "price_ledger",
        ["item_id", "zone", "valid_from", "seq"],
        unique=False,
    )
    op.create_index(
        op.f("ix_price_ledger_suggestion_id"), "price_ledger", ["suggestion_id"], unique=False
    )


def _price_suggestions() -> None:
    op.create_table(
        "price_suggestions",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("list_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("current_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("suggested_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("share_change", sa.Double(), nullable=False),
        sa.Column("expected", sa.JSON(), nullable=True),
        sa.Column("waterfall", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("gain_minor", sa.Double(), nullable=True),
        sa.Column("evidence_grade", sa.Text(), nullable=True),
        sa.Column("binding_rule", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("base_price_id", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("edited_by", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('regular', 'promotion')", name=op.f("ck_price_suggestions_known_kind")
        ),
        sa.CheckConstraint(
            "status IN ('suggested', 'submitted', 'approved', 'rejected', "
            "'scheduled', 'live', 'superseded', 'rolled_back', 'expired')",
            name=op.f("ck_price_suggestions_known_status"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('live', 'scheduled', 'rolled_back') OR price_id IS NOT NULL",
            name=op.f("ck_price_suggestions_decided_has_price"),
        ),
        sa.CheckConstraint(
            "suggested_price_minor >= 0 AND current_price_minor >= 0",
            name=op.f("ck_price_suggestions_no_negative_price"),
        ),
        sa.ForeignKeyConstraint(
            ["price_id"],
            ["price_ledger.price_id"],
            name=op.f("fk_price_suggestions_price_id_price_ledger"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_price_suggestions")),
        sa.UniqueConstraint("id", name=op.f("uq_price_suggestions_id")),
        sa.UniqueConstraint("price_id", name=op.f("uq_price_suggestions_price_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_price_suggestions_item_id_zone_status"),
        "price_suggestions",
        ["item_id", "zone", "status"],
        unique=False,
    )
    op.create_index(
        op.f("ix_price_suggestions_status_seq"),
        "price_suggestions",
        ["status", "seq"],
        unique=False,
    )


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_log_hash")),
    )
    op.create_index(op.f("ix_audit_log_subject_id"), "audit_log", ["subject_id"], unique=False)


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )


def _forbid_changes(table: str) -> None:
    """Rows are appended and never touched again; the database itself refuses."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
