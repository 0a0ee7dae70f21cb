"""The MetaData of the SQL database and the tables of facts; migrations create them."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from features.contracts.event_types import VIEW_TYPES, EventType
from features.contracts.person_ids import ID_KINDS

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(sa.TypeDecorator[datetime]):
    """An aware UTC time, to the microsecond; a time without a zone is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column of type INTEGER.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# The events of a history, as literals: a query uses a partial index only with the same condition.
BOUGHT = sa.text("event_type IN ('purchase', 'refund')")
VIEWED_OR_SEARCHED = sa.text(f"event_type IN {(*VIEW_TYPES, EventType.SEARCH.value)}")

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("occurred_at", Instant, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("visitor_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("quantity", sa.Double),
    sa.Column("line_amount_minor", sa.BigInteger),
    sa.Column("unit_price_minor", sa.Double),
    sa.Column("list_price_minor", sa.Double),
    sa.Column("order_id", sa.Text),
    sa.Column("recommendation_id", sa.Text),
    sa.Column("placement", sa.Text),
    sa.Column("rank", sa.Integer),
    sa.Column("attributes", sa.Text),
    sa.Column("exclude", sa.Boolean),
    sa.Column("received_at", Instant, nullable=False),
    sa.Index(None, "user_id", "occurred_at"),
    sa.Index(None, "visitor_id", "occurred_at"),
    sa.Index(None, "session_id", "occurred_at"),
    sa.Index(None, "occurred_at"),
    sa.Index(None, "received_at"),
    *(
        sa.Index(
            f"ix_events_{who}_bought",
            f"{who}_id",
            "occurred_at",
            sqlite_where=BOUGHT,
            postgresql_where=BOUGHT,
        )
        for who in ("visitor", "session")
    ),
)

price_ledger = sa.Table(
    "price_ledger",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("price_id", sa.Text, nullable=False, unique=True),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("valid_from", Instant, nullable=False),
    sa.Column("valid_to", Instant),
    sa.Column("list_price_minor", sa.BigInteger, nullable=False),
    sa.Column("offer_price_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("promotion_id", sa.Text),
    sa.Column("suggestion_id", sa.Text),
    sa.Column("reverts_price_id", sa.Text, unique=True),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint(
        "offer_price_minor >= 0 AND offer_price_minor <= list_price_minor", name="offer_within_list"
    ),
    sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ends_after_start"),
    sa.CheckConstraint(
        "source IN ('imported', 'observed', 'desk', 'rollback')", name="known_source"
    ),
    sa.Index(None, "item_id", "zone", "valid_from", "seq"),
    sa.Index(None, "suggestion_id"),
    sqlite_autoincrement=True,
)

PROMOTION_STATUSES = ("submitted", "scheduled", "live", "rejected", "expired", "rolled_back")

# Promotions of the price desk: one row each, whatever its mechanic and however many its items.
promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("seq", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("mechanic", sa.Text, nullable=False),
    sa.Column("terms", sa.JSON, nullable=False),  # what everybody is offered
    sa.Column("support", sa.JSON, nullable=False),  # display, mailer, ...
    sa.Column("support_reach", sa.Double, nullable=False),
    sa.Column("coupon_reach", sa.Double, nullable=False),
    sa.Column("funding_minor", sa.BigInteger, nullable=False),
    sa.Column("cost_minor", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("starts_at", Instant, nullable=False),
    sa.Column("ends_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),  # where somebody ended it early
    sa.Column("expected", sa.JSON),  # the what-if as it was filed; null where no model knew one
    sa.Column("warnings", sa.JSON, nullable=False),
    # Pricing rules that whoever filed it confirmed to break.
    sa.Column("confirmed_rules", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("proposed_by", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text),
    sa.Column("forecast_set_id", sa.Text),  # of forecast_sets, frozen at the approval
    sa.Column("decided_at", Instant),
    sa.Column("ended_by", sa.Text),
    sa.Column("reason", sa.Text),
    sa.CheckConstraint(
        "status IN ({})".format(", ".join(f"'{status}'" for status in PROMOTION_STATUSES)),
        name="known_status",
    ),
    sa.CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    sa.CheckConstraint(
        "status NOT IN ('scheduled', 'live', 'rolled_back') OR decided_at IS NOT NULL",
        name="runs_decided",
    ),
    sa.CheckConstraint(
        "status NOT IN ('scheduled', 'live', 'rolled_back') OR decided_by <> proposed_by",
        name="four_eyes",
    ),
    sa.Index(None, "zone", "starts_at"),
    sa.Index(None, "status"),
    sqlite_autoincrement=True,
)

promotion_items = sa.Table(
    "promotion_items",
    metadata,
    sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.id"), primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("title", sa.Text),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("list_price_minor", sa.BigInteger, nullable=False),
    sa.Column("current_price_minor", sa.BigInteger, nullable=False),
    sa.Column("promotion_price_minor", sa.BigInteger),  # null where the item keeps its price
    sa.Column("depth", sa.Double),
    sa.Column("price_id", sa.Text, sa.ForeignKey("price_ledger.price_id"), unique=True),
    sa.Column("expected", sa.JSON),
    sa.CheckConstraint("promotion_price_minor >= 0", name="no_negative_price"),
    sa.Index(None, "item_id"),
)

PRICE_TEST_STATES = (
    *("planning", "draft", "failed"),
    *("planned", "filed", "running", "finished", "cancelled"),
)

# Price tests: the document holds units, prices by period, what was filed, and the result.
price_tests = sa.Table(
    "price_tests",
    metadata,
    sa.Column("test_id", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("begins_at", Instant),  # business time; null while it is only planned
    sa.Column("ends_at", Instant),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.CheckConstraint(f"state IN {PRICE_TEST_STATES}", name="known_state"),
    sa.CheckConstraint("ends_at > begins_at", name="ends_after_start"),
)

# The currency in which amounts of a zone are kept, here and in the events above.
zone_currencies = sa.Table(
    "zone_currencies",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("digits", sa.Integer, nullable=False),
)

# The currency under which rows of zones that nobody knew became rows of the zone default.
unknown_zones = sa.Table(
    "unknown_zones",
    metadata,
    sa.Column("zone", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("digits", sa.Integer, nullable=False),
)

exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("exposure_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("unit_id", sa.Text, nullable=False),
    sa.Column("exposed_at", Instant, nullable=False),
    sa.Column("recommendation_id", sa.Text),
    sa.Column("placement", sa.Text),
    sa.Column("model_name", sa.Text),
    sa.Column("model_version", sa.Text),
    sa.Column("propensity", sa.Double),
    sa.Column("visitor_id", sa.Text),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.CheckConstraint(
        "propensity IS NULL OR (propensity > 0 AND propensity <= 1)", name="propensity_is_share"
    ),
    sa.Index(None, "experiment", "unit_id", "exposed_at"),
    sa.Index(None, "unit_id"),
)

# One row per answered slate.
slates = sa.Table(
    "slates",
    metadata,
    sa.Column("recommendation_id", sa.Text, primary_key=True),
    sa.Column("placement", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("unit_id", sa.Text),
    sa.Column("shown_at", Instant, nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.Column("model_name", sa.Text),
    sa.Column("model_version", sa.Text),
    sa.Column("experiment", sa.Text),
    sa.Column("variant", sa.Text),
    sa.Column("fallback", sa.Text),
    sa.Column("degraded", sa.Boolean, nullable=False),
    sa.Column("latency_ms", sa.Double),
    sa.Column("items", sa.Text, nullable=False),  # JSON lists by rank, see features.facts.slates
    sa.Index(None, "shown_at"),
    sa.Index(None, "unit_id", "shown_at"),
)

# What people stated to the shop, by any door: the latest statement.
user_consent = sa.Table(
    "user_consent",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("personalization_allowed", sa.Boolean, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)

# Ids of people who were erased, as keyed digests: see features.facts.erased_ids.
erased_ids = sa.Table(
    "erased_ids",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("secret_mark", sa.Text, nullable=False),
    sa.Column("erased_at", Instant, nullable=False),  # business time
    sa.Column("finished_at", Instant),  # system time; null while an erasure is not finished
    sa.Column("returned_at", Instant),  # business time; when the person consented anew
    sa.CheckConstraint(f"kind IN {ID_KINDS}", name="known_kind"),
)
