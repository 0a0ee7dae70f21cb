"""The canonical tables: one schema each, the one place of column names.

A `Column` defines how a value looks in a file (`kind`) and how it is stored (an Arrow type).
Money is a decimal in major units in files and integer minor units inside, under the same name with
the suffix `_minor`. Unknown extra columns are stored as JSON in `attributes`. Times are UTC, in
microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import pyarrow as pa

from features.contracts.errors import UnknownName
from features.contracts.event_types import DEFAULT_ZONE as DEFAULT_ZONE
from features.contracts.event_types import NO_ITEM as NO_ITEM
from features.contracts.event_types import QUERY as QUERY
from features.contracts.event_types import VIEW_TYPES as VIEW_TYPES
from features.contracts.event_types import EventType as EventType

TIMESTAMP = pa.timestamp("us", tz="UTC")
ATTRIBUTES = "attributes"


class ItemStatus(StrEnum):
    """Whether a shop offers an item: only active ones are on sale."""

    ACTIVE = "active"
    DRAFT = "draft"
    ARCHIVED = "archived"


class Kind(StrEnum):
    """How a value looks in a file."""

    TEXT = "text"
    TIME = "time"
    NUMBER = "number"
    INTEGER = "integer"
    FLAG = "flag"
    MONEY = "money"  # stored as whole minor units
    UNIT_MONEY = "unit_money"  # stored as fractional minor units: a price per unit, never rounded


_STORED = {
    Kind.TEXT: pa.string(),
    Kind.TIME: TIMESTAMP,
    Kind.NUMBER: pa.float64(),
    Kind.INTEGER: pa.int32(),
    Kind.FLAG: pa.bool_(),
    Kind.MONEY: pa.int64(),
    Kind.UNIT_MONEY: pa.float64(),
}


@dataclass(frozen=True)
class Column:
    """One column of a canonical table.

    choices      the only texts it takes, in any case
    max_length   of a text, in characters
    """

    name: str
    kind: Kind
    required: bool = False
    default: str | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    max_length: int = 1_000

    @property
    def stored_name(self) -> str:
        return f"{self.name}_minor" if self.kind in (Kind.MONEY, Kind.UNIT_MONEY) else self.name

    @property
    def is_id(self) -> bool:
        """Whether the values name something, as keys and joins do."""
        return self.kind is Kind.TEXT and (self.name.endswith("_id") or self.name == "zone")

    @property
    def stored_type(self) -> pa.DataType:
        return _STORED[self.kind]


@dataclass(frozen=True)
class TableSchema:
    """A canonical table.

    `key` names the stored columns that identify a row; a later import of a key replaces the row.
    `used_attributes` are the extra columns that something reads; all others are only stored.
    `aliases` are further names of columns in files, each with the name of its column.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    used_attributes: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    def find(self, name: str) -> Column | None:
        """Return the column with this name, None where there is none."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def has_money(self) -> bool:
        """Whether a column holds amounts, which are converted by the currency of a zone."""
        return any(column.kind in (Kind.MONEY, Kind.UNIT_MONEY) for column in self.columns)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The stored schema: every column, then `attributes`."""
        fields = [
            pa.field(c.stored_name, c.stored_type, nullable=not c.required) for c in self.columns
        ]
        return pa.schema([*fields, pa.field(ATTRIBUTES, pa.string())])


def _text(name: str, *, required: bool = False, default: str | None = None) -> Column:
    return Column(name, Kind.TEXT, required, default)


def _time(name: str, *, required: bool = False) -> Column:
    return Column(name, Kind.TIME, required)


def _money(name: str, *, required: bool = False) -> Column:
    return Column(name, Kind.MONEY, required, minimum=0)


def _number(
    name: str,
    *,
    required: bool = False,
    default: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Column:
    return Column(name, Kind.NUMBER, required, default, minimum, maximum)


# Of texts that nothing is looked up by.
_MAX_DESCRIPTION = 10_000
_ZONE = _text("zone", default=DEFAULT_ZONE)

EVENTS = TableSchema(
    "events",
    (
        _text("event_id"),
        _text("event_type", required=True),
        _time("occurred_at", required=True),
        _text("user_id"),
        _text("visitor_id"),
        _text("session_id"),
        _text("item_id", required=True),
        _ZONE,
        _number("quantity", default=1.0, minimum=0),
        _money("line_amount"),
        Column("unit_price", Kind.UNIT_MONEY, minimum=0),
        Column("list_price", Kind.UNIT_MONEY, minimum=0),
        _text("order_id"),
        _text("recommendation_id"),
        _text("placement"),
        Column("rank", Kind.INTEGER, minimum=1),
        Column("exclude", Kind.FLAG),
    ),
    key=("event_id",),
    used_attributes=(QUERY, "duration_seconds", "device", "channel", "campaign"),
)
ITEMS = TableSchema(
    "items",
    (
        _text("item_id", required=True),
        Column("title", Kind.TEXT, max_length=_MAX_DESCRIPTION),
        Column("category", Kind.TEXT, max_length=_MAX_DESCRIPTION),
        _text("brand"),
        _money("list_price"),
        _money("unit_cost"),
        _number("stock_on_hand", minimum=0),
        _time("stock_on_hand_at"),
        _text("family_id"),
        _text("size"),
        _time("available_from"),
        _time("available_to"),
        Column("status", Kind.TEXT, choices=tuple(ItemStatus)),
        Column("published", Kind.FLAG),
        Column("image_url", Kind.TEXT, max_length=_MAX_DESCRIPTION),
        _time("updated_at"),
    ),
    key=("item_id",),
    used_attributes=(
        "lead_time_days",
        "lifecycle_stage",
        "map_price",
        "perishable",
        "price_image",
        "sell_by",
        "service_level",
    ),
)
USERS = TableSchema(
    "users",
    (
        _text("user_id", required=True),
        Column("personalization_allowed", Kind.FLAG, default=True),
        _time("updated_at"),
    ),
    key=("user_id",),
)
PRICE_HISTORY = TableSchema(
    "price_history",
    (
        _text("item_id", required=True),
        _ZONE,
        _time("valid_from", required=True),
        _time("valid_to"),
        _money("list_price", required=True),
        _money("offer_price", required=True),
        _text("promotion_id"),
    ),
    key=("item_id", "zone", "valid_from"),
)
PROMOTIONS = TableSchema(
    "promotions",
    (
        _text("promotion_id", required=True),
        _text("item_id", required=True),
        _ZONE,
        _time("starts_at", required=True),
        _time("ends_at", required=True),
        _text("kind"),
        _number("depth", minimum=0, maximum=1),
        _number("reach", default=1.0, minimum=0, maximum=1),
    ),
    key=("promotion_id", "item_id", "zone", "starts_at"),
    used_attributes=("amount", "repeats", "threshold"),
)
COSTS = TableSchema(
    "costs",
    (
        _text("item_id", required=True),
        _ZONE,
        _time("valid_from", required=True),
        _money("unit_cost", required=True),
    ),
    key=("item_id", "zone", "valid_from"),
)
STOCK = TableSchema(
    "stock",
    (
        _text("item_id", required=True),
        _ZONE,
        _time("at", required=True),
        _number("on_hand", required=True, minimum=0),
        _number("on_order", minimum=0),
    ),
    key=("item_id", "zone", "at"),
)
COMPETITOR_PRICES = TableSchema(
    "competitor_prices",
    (
        _text("item_id", required=True),
        _text("competitor", required=True),
        _time("observed_at", required=True),
        _money("price", required=True),
    ),
    key=("item_id", "competitor", "observed_at"),
)
REGRESSORS = TableSchema(
    "regressors",
    (
        _text("name", required=True),
        _ZONE,
        _time("at", required=True),
        _number("value", required=True),
        _time("known_at"),
    ),
    key=("name", "zone", "at"),
)
# What `shopwright rows` decides of events; `rule` is a filter as JSON.
EXCLUSIONS = TableSchema(
    "exclusions",
    (
        _text("rule", required=True),
        Column("excluded", Kind.FLAG, required=True),
        _time("decided_at", required=True),
        _text("reason"),
    ),
    key=("rule",),
)
# What `shopwright items` decides; kept beside the tables that are imported.
RETIRED_ITEMS = TableSchema(
    "retired_items",
    (
        _text("item_id", required=True),
        Column("retired", Kind.FLAG, required=True),
        _time("decided_at", required=True),
    ),
    key=("item_id",),
)
CLOSURES = TableSchema(
    "closures",
    (
        _ZONE,
        _time("starts_at", required=True),
        _time("ends_at", required=True),
        _text("name"),
    ),
    key=("zone", "starts_at"),
    aliases=(("from", "starts_at"), ("to", "ends_at")),
)

TABLES: dict[str, TableSchema] = {
    schema.name: schema
    for schema in (
        EVENTS,
        ITEMS,
        USERS,
        PRICE_HISTORY,
        PROMOTIONS,
        COSTS,
        STOCK,
        COMPETITOR_PRICES,
        REGRESSORS,
        CLOSURES,
    )
}


def find_schema(name: str) -> TableSchema:
    """Return the schema of a table, also of those that verbs write. Raises UnknownName."""
    for schema in (EXCLUSIONS, RETIRED_ITEMS):
        if name == schema.name:
            return schema
    if name not in TABLES:
        raise UnknownName(name, TABLES, kind="table")
    return TABLES[name]
