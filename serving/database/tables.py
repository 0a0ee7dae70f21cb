"""Tables of the service's own state: price desk, audit, keys, idempotency, experiments.

They share the MetaData of features.database.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.database import Instant, RowNumber, metadata

SUGGESTION_STATUSES = (
    "suggested",
    "submitted",
    "approved",
    "rejected",
    "scheduled",
    "live",
    "superseded",
    "rolled_back",
    "expired",
)

price_suggestions = sa.Table(
    "price_suggestions",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("list_price_minor", sa.BigInteger, nullable=False),
    sa.Column("current_price_minor", sa.BigInteger, nullable=False),
    sa.Column("suggested_price_minor", sa.BigInteger, nullable=False),
    sa.Column("share_change", sa.Double, nullable=False),
    sa.Column("expected", sa.JSON),
    sa.Column("waterfall", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("gain_minor", sa.Double),
    sa.Column("evidence_grade", sa.Text),
    sa.Column("binding_rule", sa.Text),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("base_price_id", sa.Text, nullable=False),
    sa.Column("effective_from", Instant, nullable=False),
    sa.Column("starts_at", Instant),
    sa.Column("ends_at", Instant),
    sa.Column("expires_at", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("proposed_by", sa.Text, nullable=False),
    sa.Column("edited_by", sa.Text),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided_at", Instant),
    sa.Column("reason", sa.Text),
    sa.Column("price_id", sa.Text, sa.ForeignKey("price_ledger.price_id"), unique=True),
    sa.CheckConstraint(
        "status IN ({})".format(", ".join(f"'{status}'" for status in SUGGESTION_STATUSES)),
        name="known_status",
    ),
    sa.CheckConstraint("kind IN ('regular', 'promotion')", name="known_kind"),
    sa.CheckConstraint(
        "suggested_price_minor >= 0 AND current_price_minor >= 0", name="no_negative_price"
    ),
    sa.CheckConstraint(
        "status NOT IN ('live', 'scheduled', 'rolled_back') OR price_id IS NOT NULL",
        name="decided_has_price",
    ),
    sa.Index(None, "status", "seq"),
    sa.Index(None, "item_id", "zone", "status"),
    sqlite_autoincrement=True,
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject_type", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Index(None, "subject_id"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("revoked_at", Instant),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index(None, "created_at"),
)

experiment_states = sa.Table(
    "experiment_states",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("stopped_at", Instant),  # business time; null while it runs
    sa.CheckConstraint("status IN ('running', 'stopped')", name="known_status"),
)
