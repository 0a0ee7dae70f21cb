"""The canonical tables: one schema each, the one place of column names.

A `Column` defines how a value looks in a file (`kind`) and how it is stored (an Arrow type).
Money is a decimal in major units in files and integer minor units inside, under the same name with
the suffix `_minor`. Unknown extra columns are stored as JSON in `attributes`. Times are UTC, in
microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
DEFAULT_ZONE = "default"
ATTRIBUTES = "attributes"


class EventType(StrEnum):
    """The kinds of events, in the e-commerce names of GA4."""

    VIEW_ITEM = "view_item"
    VIEW_ITEM_LIST = "view_item_list"
    SELECT_ITEM = "select_item"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    ADD_TO_WISHLIST = "add_to_wishlist"
    BEGIN_CHECKOUT = "begin_checkout"
    PURCHASE = "purchase"
    REFUND = "refund"


# The events that count as looking at an item.
VIEW_TYPES = (EventType.VIEW_ITEM.value, EventType.SELECT_ITEM.value, EventType.ADD_TO_CART.value)


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
    """One column of a canonical table."""

    name: str
    kind: Kind
    required: bool = False
    default: str | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def stored_name(self) -> str:
        return f"{self.name}_minor" if self.kind in (Kind.MONEY, Kind.UNIT_MONEY) else self.name

    @property
    def stored_type(self) -> pa.DataType:
        return _STORED[self.kind]


@dataclass(frozen=True)
class TableSchema:
    """A canonical table.

    `key` names the stored columns that identify a row; a later import of a key replaces the row.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
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
    ),
    key=("event_id",),
)
ITEMS = TableSchema(
    "items",
    (
        _text("item_id", required=True),
        _text("title"),
        _text("category"),
        _text("brand"),
        _money("list_price"),
        _money("unit_cost"),
        _number("stock_on_hand", minimum=0),
        _text("family_id"),
        _text("size"),
        _time("available_from"),
        _text("image_url"),
    ),
    key=("item_id",),
)
USERS = TableSchema(
    "users",
    (_text("user_id", required=True), Column("personalization_allowed", Kind.FLAG, default=True)),
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
    )
}
