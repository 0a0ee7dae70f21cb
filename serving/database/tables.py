"""Tables of the service's own state: audit, keys, people, webhooks, idempotency, experiments.

They share the MetaData of features.database_tables.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.database_tables import Instant, RowNumber, metadata
from serving.access import ROLES

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
    sa.Column("started_at", Instant),  # business time
    sa.Column("stopped_at", Instant),  # business time; null while it runs
    sa.Column("stop_reason", sa.Text),
    sa.Column("decision", sa.JSON(none_as_null=True)),
    sa.Column("weights", sa.JSON(none_as_null=True)),  # those of today, where results move them
    sa.Column("override_secret", sa.Text),
    sa.CheckConstraint("status IN ('draft', 'running', 'stopped', 'decided')", name="known_status"),
)

# When some process last looked at an experiment that runs, in system time.
experiment_looks = sa.Table(
    "experiment_looks",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("looked_at", Instant, nullable=False),
)

# People who sign in: the pricing team, not the shoppers.
people = sa.Table(
    "people",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("full_name", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text),
    sa.Column("totp_secret", sa.Text),
    sa.Column("totp_since", Instant),  # null while the set-up is not confirmed
    sa.Column("totp_step", sa.BigInteger),  # the last code used: none is accepted twice
    sa.Column("openid_issuer", sa.Text),
    sa.Column("openid_subject", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("disabled_at", Instant),
    sa.Column("last_sign_in_at", Instant),
    sa.UniqueConstraint("openid_issuer", "openid_subject"),
)

# "" in category or zone is every one.
person_roles = sa.Table(
    "person_roles",
    metadata,
    sa.Column("person", sa.Text, sa.ForeignKey("people.name"), primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, primary_key=True),
    sa.CheckConstraint(
        "role IN ({})".format(", ".join(f"'{role}'" for role in ROLES)), name="known_role"
    ),
)

recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    sa.Column("code_hash", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, sa.ForeignKey("people.name"), nullable=False),
    sa.Index(None, "person"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("token_hash", sa.Text, nullable=False, unique=True),
    sa.Column("person", sa.Text, sa.ForeignKey("people.name"), nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("last_seen_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.CheckConstraint("method IN ('password', 'openid')", name="known_method"),
    sa.Index(None, "person"),
    sa.Index(None, "expires_at"),
)

# Failed attempts to sign in: by the name that was tried, and by the address it was tried from.
sign_in_failures = sa.Table(
    "sign_in_failures",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", Instant, nullable=False),
    sa.Column("paused_until", Instant),
    sa.Index(None, "last_at"),
)

# Sign-ins that were sent to the OpenID provider and have not come back.
openid_requests = sa.Table(
    "openid_requests",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("nonce", sa.Text, nullable=False),
    sa.Column("code_verifier", sa.Text, nullable=False),
    sa.Column("next_path", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index(None, "created_at"),
)

# How people like to see the console: language, theme, columns, saved views.
preferences = sa.Table(
    "preferences",
    metadata,
    sa.Column("person", sa.Text, sa.ForeignKey("people.name"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)

# Receivers of what happens at the price desk. A secret signs messages, so it is kept as it is.
webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    # How far the ledger and the audit log were read for it.
    sa.Column("ledger_seq", sa.BigInteger, nullable=False),
    sa.Column("audit_seq", sa.BigInteger, nullable=False),
    # The process that sends to it now.
    sa.Column("leased_by", sa.Text),
    sa.Column("leased_until", Instant),
    # The secret before this one, which signs too until a time.
    sa.Column("previous_secret", sa.Text),
    sa.Column("previous_until", Instant),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("first_seq", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_attempt_at", Instant),
    sa.Column("next_attempt_at", Instant, nullable=False),
    sa.Column("delivered_at", Instant),
    sa.Column("answer_status", sa.Integer),
    sa.Column("error", sa.Text),
    sa.CheckConstraint("status IN ('waiting', 'delivered', 'dead')", name="known_status"),
    sa.CheckConstraint("kind IN ('price_changes', 'actions')", name="known_kind"),
    sa.Index(None, "webhook_id", "status", "seq"),
    sqlite_autoincrement=True,
)
