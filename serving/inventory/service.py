"""The replenishment list: per item when to order, how much, and how long the stock lasts. No HTTP,
no SQL text."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import NotFound
from features.database import reading
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
from serving.inventory.stock import ItemStock, item_stock

if TYPE_CHECKING:
    from features.facts.facts import Facts

_KEPT_FOR = timedelta(hours=1)
_NOTHING = ItemStock()


@dataclass(frozen=True)
class InventoryRow:
    """One item in one zone; on_hand, days_of_cover and order are None where no stock is known.

    weekly_units   expected a week, over all weeks foretold
    on_order       ordered and not yet arrived; None where the latest count does not say: nothing is
                   taken to be
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
    """The list, what must be ordered first: then by class, then by revenue. `notes` say what was
    assumed."""

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


def inventory(
    facts: Facts,
    engine: sa.Engine,
    settings: Settings,
    forecasts: ForecastTable,
    zone: str,
    now: datetime,
) -> Inventory:
    """Of every item of `zone` that has a forecast. Raises NotFound when none has."""
    item_ids, outlook = forecasts.outlook(zone, now)
    if not item_ids:
        raise NotFound(f"no forecasts for zone {zone!r}", hint="Try: shopwright train demand")
    known = item_stock(facts, zone, now)
    items = [known.get(item_id, _NOTHING) for item_id in item_ids]
    policy = Policy(
        np.array([item.lead_time_days or settings.lead_time_days for item in items]),
        np.full(len(items), settings.review_days),
        np.array([item.service_level or settings.service_level for item in items]),
    )
    on_hand, on_order = (
        _doubles([item.on_hand for item in items]),
        _doubles([item.on_order for item in items]),
    )
    plan = replenish(outlook, policy, on_hand, on_order)
    with reading(engine) as connection:
        offers = Ledger(connection).offers(zone, now)
    prices = [
        offers.get(item_id, item.list_price_minor)
        for item_id, item in zip(item_ids, items, strict=True)
    ]
    worth = outlook.mean.sum(axis=1) * _filled(prices)
    classes, spreads = classify_abc(worth), classify_xyz(outlook)
    slow = find_slow_movers(outlook, plan.days_of_cover)
    rows = [
        InventoryRow(
            item_id=item_ids[n],
            title=item.title,
            category=item.category,
            weekly_units=float(outlook.mean[n].mean()),
            on_hand=item.on_hand,
            on_order=item.on_order,
            days_of_cover=_finite(plan.days_of_cover[n]),
            reorder_point=float(plan.reorder_point[n]),
            safety_stock=float(plan.safety_stock[n]),
            order_up_to=float(plan.order_up_to[n]),
            order=_finite(plan.order[n]),
            abc=str(classes[n]),
            xyz=str(spreads[n]),
            slow_mover=bool(slow[n]),
            lead_time_days=float(policy.lead_time_days[n]),
            service_level=float(policy.service_level[n]),
        )
        for n, item in enumerate(items)
    ]
    order = sorted(
        range(len(rows)), key=lambda n: (not rows[n].order, rows[n].abc, -worth[n], rows[n].item_id)
    )
    return Inventory(
        zone, tuple(rows[n] for n in order), _notes(items, prices, outlook.mean.shape[1])
    )


class InventoryDesk:
    """The list of each zone, made once for all its pages.

    It is made anew with another model, an import, or a price that was decided or begins to hold,
    and after an hour.
    """

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings, self._engine = settings, engine
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def of(self, forecasts: ForecastTable, version: str, zone: str, now: datetime) -> Inventory:
        """As `inventory`."""
        from features.facts.facts import Facts  # here, because a server is ready without its engine

        facts = Facts(self._settings)
        with reading(self._engine) as connection:
            ledger = Ledger(connection)
            made_of = version, facts.stamp, ledger.last_seq()
            change = ledger.next_change(zone, now)
        with self._lock:
            kept = self._kept.get(zone)
            if kept is None or kept.made_of != made_of or not kept.since <= now < kept.until:
                until = min(each for each in (change, now + _KEPT_FOR) if each is not None)
                found = inventory(facts, self._engine, self._settings, forecasts, zone, now)
                kept = self._kept[zone] = _Kept(made_of, now, until, found)
            return kept.inventory


@dataclass(frozen=True)
class _Kept:
    """A list, what it was made of, and from when to when it holds."""

    made_of: tuple[str, str, int]
    since: datetime
    until: datetime
    inventory: Inventory


def _filled(prices: list[int | None]) -> np.ndarray:
    """Items without a price are taken to cost what the middle one does; 1 each where no price is
    known."""
    values = _doubles(prices)
    known = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, np.median(known) if len(known) else 1.0)


def _doubles(values: Sequence[float | None]) -> np.ndarray:
    """NaN for None."""
    return np.array([math.nan if value is None else float(value) for value in values])


def _notes(items: list[ItemStock], prices: list[int | None], n_weeks: int) -> tuple[str, ...]:
    notes = []
    unknown = sum(item.on_hand is None for item in items)
    if unknown:
        notes.append(
            f"{unknown:,} of {len(items):,} items have no known stock: no order and no cover for them"
        )
    silent = sum(item.on_hand is not None and item.on_order is None for item in items)
    if silent:
        notes.append(
            f"{silent:,} items have a stock that does not say what is on order: nothing is taken to be"
        )
    unpriced = sum(price is None for price in prices)
    if unpriced:
        notes.append(f"{unpriced:,} items have no price: their class takes the middle price")
    notes.append(
        f"classes by expected revenue of {n_weeks} weeks; beyond {n_weeks * DAYS:.0f} days the last week holds"
    )
    return tuple(notes)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
