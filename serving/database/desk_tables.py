"""Tables of the price desk: suggestions, runs, rules, forecasts that approvals froze, controls.

They share the MetaData of features.database_tables.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.database_tables import Instant, RowNumber, metadata

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

# Conditions of partial indexes, as literals: a query uses one only where it implies them.
SCHEDULED = sa.text("status = 'scheduled'")
_DUE_INDEXES = {
    "expires_at": sa.text("expires_at IS NOT NULL"),
    "ends_at": sa.text("ends_at IS NOT NULL"),
    "effective_from": SCHEDULED,
}

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
    sa.Column("expired_from", sa.Text),  # the status before it expired
    sa.Column("returned_reason", sa.Text),  # why it came back to the queue after its approval
    sa.Column("forecast_set_id", sa.Text),  # of forecast_sets, as its last approval froze them
    # Item id and title, case-folded.
    sa.Column("search_text", sa.Text, nullable=False, server_default=""),
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
    # What time ends, by when it does: these are asked for at every reading.
    *(
        sa.Index(
            f"ix_price_suggestions_due_{name}",
            "status",
            name,
            sqlite_where=condition,
            postgresql_where=condition,
        )
        for name, condition in _DUE_INDEXES.items()
    ),
    sqlite_autoincrement=True,
)
# Rows are wide because of their reasons: on SQLite a grid is sorted and filtered in this index.
GRID_INDEX = sa.Index(
    "ix_price_suggestions_grid",
    *(
        price_suggestions.c[name]
        for name in (
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
    ),
).ddl_if(dialect="sqlite")

# A run of `prices suggest` in one zone.
pricing_runs = sa.Table(
    "pricing_runs",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("objective", sa.Text, nullable=False),
    sa.Column("horizon_weeks", sa.Integer, nullable=False),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),  # business time
    sa.Column("recorded_at", Instant, nullable=False),  # system time
    sa.Column("totals", sa.JSON, nullable=False),
    sa.Column("kept", sa.JSON, nullable=False),
    sa.Column("held", sa.JSON, nullable=False),
    sa.Column("broken_rules", sa.JSON, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    sa.Column("versions", sa.JSON, nullable=False),
    sa.Index(None, "zone", "seq"),
    sqlite_autoincrement=True,
)

# What a run decided about each of its items; `reason` says why a price is kept.
pricing_run_items = sa.Table(
    "pricing_run_items",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("pricing_runs.id"), primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("current_price_minor", sa.BigInteger),
    sa.Column("suggested_price_minor", sa.BigInteger),
    sa.CheckConstraint("outcome IN ('suggested', 'kept')", name="known_outcome"),
    sa.CheckConstraint("outcome = 'suggested' OR reason IS NOT NULL", name="kept_has_reason"),
    sa.Index(None, "item_id"),
)

# What all items of a zone were expected to sell when prices were approved: a FrozenForecasts.
forecast_sets = sa.Table(
    "forecast_sets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("demand_version", sa.Text, nullable=False),
    sa.Column("pricing_version", sa.Text, nullable=False),
    # Of the training: a registry that was lost counts versions from 1 again.
    sa.Column("demand_run_id", sa.Text, nullable=False, server_default=""),
    sa.Column("pricing_run_id", sa.Text, nullable=False, server_default=""),
    sa.Column("made_at", Instant, nullable=False),  # business time
    sa.Column("tax_divisor", sa.Double, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint(
        *("zone", "demand_version", "pricing_version", "demand_run_id", "pricing_run_id"),
        name="uq_forecast_sets_models",
    ),
)

# Weekly looks at batches of price changes that began in the same week, each made once.
batch_looks = sa.Table(
    "batch_looks",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("first_week", Instant, primary_key=True),
    sa.Column("week", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("looked_at", Instant, nullable=False),  # business time
    sa.Column("n_changes", sa.Integer, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("limit_score", sa.Double, nullable=False),
    sa.Column("profit", sa.JSON, nullable=False),  # p10, p50, p90 against keeping, minor units
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("is_alarm", sa.Boolean, nullable=False),
    sa.Column("proposal_id", sa.Text),
    sa.Column("note", sa.Text),
)

# Prices that the desk may not change: an item in one zone, or with "" in every zone.
price_locks = sa.Table(
    "price_locks",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("locked_by", sa.Text, nullable=False),
    sa.Column("begins_at", Instant, nullable=False),
    sa.Column("ends_at", Instant, nullable=False),
    sa.Column("unlocked_by", sa.Text),
    sa.CheckConstraint("ends_at >= begins_at", name="ends_after_start"),
    sa.Index(None, "ends_at"),
    sa.Index(None, "item_id"),
    sqlite_autoincrement=True,
)

# At most one row: while it stands no approved price becomes valid.
activation_stops = sa.Table(
    "activation_stops",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("stopped_by", sa.Text, nullable=False),
    sa.Column("stopped_at", Instant, nullable=False),
    sa.CheckConstraint("id = 1", name="only_one"),
)

# Who approves without a person: thresholds that a manager sets.
approval_rules = sa.Table(
    "approval_rules",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("max_change", sa.Double, nullable=False),
    sa.Column("min_evidence", sa.Text, nullable=False),
    sa.Column("min_profit_p10", sa.Double, nullable=False),  # major units
    sa.Column("categories", sa.JSON, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
    sa.CheckConstraint("max_change > 0 AND max_change <= 0.5", name="small_change"),
)

# At most one row: the shop's own reasons for rejections; without it those of the config.
reject_policies = sa.Table(
    "reject_policies",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("required", sa.Boolean, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
    sa.CheckConstraint("id = 1", name="only_one"),
)

# What people say about a suggestion; system time.
suggestion_comments = sa.Table(
    "suggestion_comments",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("suggestion_id", sa.Text, sa.ForeignKey("price_suggestions.id"), nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("written_at", Instant, nullable=False),
    sa.CheckConstraint("text <> ''", name="some_text"),
    sa.Index(None, "suggestion_id", "seq"),
    sqlite_autoincrement=True,
)

# Prices under other rules, computed and not filed; `payload` is what filing would store.
price_scenarios = sa.Table(
    "price_scenarios",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("problem", sa.Text),
    sa.Column("outcome", sa.JSON),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),  # business time
    sa.Column("begun_at", Instant, nullable=False),  # system time
    sa.Column("filed_by", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.CheckConstraint("status IN ('running', 'done', 'failed', 'filed')", name="known_status"),
    sa.CheckConstraint("(status = 'filed') = (run_id IS NOT NULL)", name="filed_has_run"),
    sa.Index(None, "zone", "seq"),
    sqlite_autoincrement=True,
)


def _make_version_table(name: str) -> sa.Table:
    """Return a table of versions of rules; without one the file of the same name is valid."""
    return sa.Table(
        name,
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("restored_from", sa.Integer),
    )


pricing_rule_versions = _make_version_table("pricing_rule_versions")
merchandising_rule_versions = _make_version_table("merchandising_rule_versions")
experiment_versions = _make_version_table("experiment_versions")
placement_versions = _make_version_table("placement_versions")
