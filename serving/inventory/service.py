"""The replenishment list: per item when to order, how much, and how long the stock lasts."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import Float64Array
from features.contracts.clock import Clock
from features.contracts.errors import NotFound
from features.database import reading
from features.facts.off_sale import OffSaleItems, find_off_sale
from features.prices.currencies import find_unknown_zone
from features.prices.ledger import Ledger
from models.demand.inventory import (
    DAYS,
    Policy,
    classify_abc,
    classify_xyz,
    find_slow_movers,
    replenish,
)
from models.demand.lookup import ForecastTable
from models.registry import Version
from models.served_prices import PriceModels
from serving.inventory.stock import ItemStock, read_item_stock
from serving.spreadsheets import Sheet, SheetFormat, write_sheet

if TYPE_CHECKING:
    from features.facts.facts import Facts

_CACHED_FOR = timedelta(hours=1)
_UNKNOWN = ItemStock()


@dataclass(frozen=True)
class InventoryRow:
    """One item in one zone; on_hand, days_of_cover and order are None where no stock is known.

    weekly_units   expected a week, the mean of all weeks of the forecast
    on_order       ordered and not yet arrived; None where the latest count does not say: then 0 is
                   assumed
    days_of_cover  None also where nothing is expected to sell
    """

    item_id: str
    title: str | None
    category: str
    weekly_units: float
    on_hand: float | None
    on_order: float | None
    days_of_cover: float | None
    reorder_point: float
    safety_stock: float
    order_up_to: float
    order: float | None
    abc: str
    xyz: str
    slow_mover: bool
    lead_time_days: float
    service_level: float


@dataclass(frozen=True)
class Inventory:
    """The rows of a zone: what must be ordered first, then by class, then by revenue.

    notes   what was assumed
    """

    zone: str
    rows: tuple[InventoryRow, ...]
    notes: tuple[str, ...]

    @property
    def n_to_order(self) -> int:
        """Items of which something must be ordered."""
        return sum(bool(row.order) for row in self.rows)

    @property
    def classes(self) -> Mapping[str, int]:
        """Items by ABC and XYZ class."""
        return dict(sorted(Counter(row.abc + row.xyz for row in self.rows).items()))


Show = Literal["all", "order", "slow"]
# How a list may be sorted, besides what must be ordered first; what is not known comes last.
SORTS: Mapping[str, Callable[[InventoryRow], float]] = {
    "cover": lambda row: math.inf if row.days_of_cover is None else row.days_of_cover,
    "order": lambda row: -(row.order or 0.0),
    "sells": lambda row: -row.weekly_units,
    "on_hand": lambda row: math.inf if row.on_hand is None else -row.on_hand,
}


@dataclass(frozen=True)
class InventoryFilter:
    """Which rows to show, and how they are sorted.

    category       this one and those below it
    item_class     ABC and XYZ class, as "AX"; "A" is every class of A
    text           in the title or id, in any case
    sort           of SORTS; None: what must be ordered first
    """

    show: Show = "all"
    category: str | None = None
    item_class: str | None = None
    text: str | None = None
    sort: str | None = None

    def select(self, rows: Sequence[InventoryRow]) -> list[InventoryRow]:
        """Return the rows that agree with every condition."""
        selected = [row for row in rows if self._matches(row)]
        by = SORTS.get(self.sort or "")
        return selected if by is None else sorted(selected, key=by)

    def _matches(self, row: InventoryRow) -> bool:
        if self.show == "order" and not row.order:
            return False
        if self.show == "slow" and not row.slow_mover:
            return False
        if self.category and not f"{row.category} > ".startswith(f"{self.category} > "):
            return False
        if self.item_class and not (row.abc + row.xyz).startswith(self.item_class):
            return False
        return (self.text or "").casefold() in f"{row.title or ''} {row.item_id}".casefold()


def tabulate_rows(zone: str, rows: Iterable[InventoryRow]) -> Sheet:
    """Return rows as a table for people."""
    names = [column.name for column in fields(InventoryRow)]
    return Sheet(("zone", *names), ((zone, *asdict(row).values()) for row in rows))


def plan_inventory(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    forecasts: ForecastTable,
    zone: str,
    now: datetime,
) -> Inventory:
    """Return the list of every item of `zone` with a forecast that is on sale.

    Raises NotFound when there is none.
    """
    off_sale = find_off_sale(settings, now)
    item_ids, outlook = forecasts.outlook(zone, now, without=off_sale)
    if not item_ids:
        with reading(engine) as connection:
            error = find_unknown_zone(settings, connection, zone)
        if error is not None:
            raise NotFound(error.what, where="zone", hint=error.hint)
        zones = ", ".join(forecasts.list_zones())
        hint = (
            "All its items are off sale"
            if off_sale and zone in forecasts.list_zones()
            else f"Zones with forecasts: {zones or 'none'}"
        )
        raise NotFound(f"no forecasts for zone {zone!r} of items on sale", hint=hint)
    stock = read_item_stock(facts, zone, now)
    items = [stock.get(item_id, _UNKNOWN) for item_id in item_ids]
    policy = Policy(
        np.array([item.lead_time_days or settings.lead_time_days for item in items]),
        np.full(len(items), settings.review_days),
        np.array([item.service_level or settings.service_level for item in items]),
    )
    on_hand = _to_array([item.on_hand for item in items])
    on_order = _to_array([item.on_order for item in items])
    plan = replenish(outlook, policy, on_hand, on_order)
    with reading(engine) as connection:
        offers = Ledger(connection).read_offers(zone, now)
    prices = [
        offers.get(item_id, item.list_price_minor)
        for item_id, item in zip(item_ids, items, strict=True)
    ]
    revenue = outlook.mean.sum(axis=1) * _fill_prices(prices)
    abc_classes, xyz_classes = classify_abc(revenue), classify_xyz(outlook)
    slow = find_slow_movers(outlook, plan.days_of_cover)
    rows = [
        InventoryRow(
            item_id=item_ids[n],
            title=item.title,
            category=item.category,
            weekly_units=float(outlook.mean[n].mean()),
            on_hand=item.on_hand,
            on_order=item.on_order,
            days_of_cover=_to_finite(plan.days_of_cover[n]),
            reorder_point=float(plan.reorder_point[n]),
            safety_stock=float(plan.safety_stock[n]),
            order_up_to=float(plan.order_up_to[n]),
            order=_to_finite(plan.order[n]),
            abc=str(abc_classes[n]),
            xyz=str(xyz_classes[n]),
            slow_mover=bool(slow[n]),
            lead_time_days=float(policy.lead_time_days[n]),
            service_level=float(policy.service_level[n]),
        )
        for n, item in enumerate(items)
    ]
    ordered = sorted(
        range(len(rows)),
        key=lambda n: (not rows[n].order, rows[n].abc, -revenue[n], rows[n].item_id),
    )
    notes = _describe_assumptions(items, prices, outlook.mean.shape[1])
    return Inventory(zone, tuple(rows[n] for n in ordered), notes)


@dataclass(frozen=True)
class _State:
    """What a list depends on: the demand model, the imported tables, the price ledger, and the
    items that are off sale."""

    model_version: str
    facts_stamp: str
    last_price: int
    off_sale: frozenset[str]


@dataclass(frozen=True)
class _CachedList:
    """A list, the state that it was made from, and the time for which it is valid."""

    state: _State
    since: datetime
    until: datetime
    inventory: Inventory


class InventoryService:
    """The replenishment list of each zone by the served demand champion.

    A list is made once for all its pages. It is made again with another model, an import, or a
    price that was decided or becomes valid, and after an hour.
    """

    def __init__(
        self, settings: Settings, engine: sa.Engine, clock: Clock, models: PriceModels
    ) -> None:
        self._settings, self._engine = settings, engine
        self._clock, self._models = clock, models
        self._off_sale = OffSaleItems(settings)
        self._lock = threading.Lock()
        self._lists: dict[str, _CachedList] = {}

    def list_items(self, zone: str) -> tuple[Version, Inventory]:
        """Return the demand model's version and the list. Raises NotFound as `plan_inventory`."""
        from features.facts.facts import Facts  # here, because a server is ready without its engine

        served, now = self._models.forecasts(), self._clock.now()
        facts = Facts(self._settings)
        with reading(self._engine) as connection:
            ledger = Ledger(connection)
            state = _State(
                served.version.version,
                facts.stamp,
                ledger.read_last_seq(),
                self._off_sale.find(now),
            )
            next_change = ledger.find_next_change(zone, now)
        with self._lock:
            cached = self._lists.get(zone)
            if cached is None or cached.state != state or not cached.since <= now < cached.until:
                until = min(time for time in (next_change, now + _CACHED_FOR) if time is not None)
                inventory = plan_inventory(
                    facts, self._engine, self._settings, served.table, zone, now
                )
                cached = self._lists[zone] = _CachedList(state, now, until, inventory)
            return served.version, cached.inventory

    def write_rows(
        self, zone: str, which: InventoryFilter, path: Path, sheet_format: SheetFormat
    ) -> int:
        """Write the rows of a filter to a file, and return how many. Raises as `list_items`."""
        _, inventory = self.list_items(zone)
        return write_sheet(tabulate_rows(zone, which.select(inventory.rows)), path, sheet_format)


def _fill_prices(prices: list[int | None]) -> Float64Array:
    """Return the prices with the median price where an item has none; 1 where no item has one."""
    values = _to_array(prices)
    known = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, np.median(known) if len(known) else 1.0)


def _to_array(values: Sequence[float | None]) -> Float64Array:
    """Return the values with NaN for None."""
    return np.array([math.nan if value is None else float(value) for value in values])


def _describe_assumptions(
    items: list[ItemStock], prices: list[int | None], n_weeks: int
) -> tuple[str, ...]:
    notes = []
    unknown = sum(item.on_hand is None for item in items)
    if unknown:
        notes.append(
            f"{unknown:,} of {len(items):,} items have no known stock: "
            "no order and no cover for them"
        )
    silent = sum(item.on_hand is not None and item.on_order is None for item in items)
    if silent:
        notes.append(
            f"{silent:,} items have a stock that does not say what is on order: "
            "nothing is taken to be"
        )
    unpriced = sum(price is None for price in prices)
    if unpriced:
        notes.append(f"{unpriced:,} items have no price: their class takes the middle price")
    notes.append(
        f"classes by expected revenue of {n_weeks} weeks; "
        f"beyond {n_weeks * DAYS:.0f} days weeks are like the last open one"
    )
    return tuple(notes)


def _to_finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
