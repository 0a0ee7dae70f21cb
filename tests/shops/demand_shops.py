"""Small shops of many kinds, drawn at random: their tables, with a known kind of demand.

A kind says how demand moves (KINDS); sizes, levels and lengths are drawn anew for each seed. Two
kinds simulate buyers with habits, the others draw orders around a mean per item and week.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from features.contracts.arrays import Float64Array, Int64Array

END = datetime(2024, 6, 3, tzinfo=UTC)  # a Monday; the shops' histories end here
_YEAR = 52.18
_MINUTES = 7 * 24 * 60
_WEEKDAYS = np.array([0.9, 0.9, 1.0, 1.0, 1.2, 1.3, 0.7])
_VIEWS_PER_ORDER = 3


@dataclass
class Orders:
    """Order lines, one each: the item, minutes after the first week's start, units, the buyer."""

    item: Int64Array
    minute: Int64Array
    units: Int64Array
    buyer: Int64Array


@dataclass
class DemandShop:
    """One drawn shop: I items, T weeks.

    price        I × T, what was paid
    planned      the price history is imported as well
    promotions   I × T of bool: weeks that the promotion table names
    listed       I, the first week in the catalogue; 0: always there
    views        views per order line
    """

    n_items: int
    n_weeks: int
    orders: Orders
    price: Float64Array
    planned: bool = False
    promotions: np.ndarray | None = None
    listed: Int64Array | None = None
    n_categories: int = 4
    views: int = 0

    @property
    def start(self) -> datetime:
        """Start of the first week."""
        return END - timedelta(weeks=self.n_weeks)

    def write(self, folder: Path) -> None:
        """Write items.csv, events.csv and, where the shop has them, its plans."""
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "items.csv", self._build_items())
        _write(folder / "events.csv", self._build_events())
        if self.planned:
            _write(folder / "price_history.csv", self._build_prices())
        if self.promotions is not None:
            _write(folder / "promotions.csv", self._build_promotions())

    def _build_items(self) -> dict[str, list[object]]:
        listed = np.zeros(self.n_items, np.int64) if self.listed is None else self.listed
        return {
            "item_id": [_name(item) for item in range(self.n_items)],
            "title": [f"Item {item}" for item in range(self.n_items)],
            "category": [f"Shop > C{item % self.n_categories}" for item in range(self.n_items)],
            "list_price": [round(float(price), 2) for price in self.price.max(axis=1)],
            "available_from": [self._format(week * _MINUTES) if week else "" for week in listed],
        }

    def _build_events(self) -> dict[str, list[object]]:
        rows: dict[str, list[object]] = {name: [] for name in _EVENT_COLUMNS}
        orders = self.orders
        lines = zip(orders.item, orders.minute, orders.units, orders.buyer, strict=True)
        for number, (item, minute, units, buyer) in enumerate(lines):
            price = self.price[item, minute // _MINUTES]
            for _ in range(self.views):
                _append(rows, "view_item", self._format(minute), item, buyer)
            _append(rows, "purchase", self._format(minute), item, buyer)
            rows["quantity"][-1] = str(units)
            rows["unit_price"][-1] = f"{price:.2f}"
            rows["order_id"][-1] = f"o{number}"
        return rows

    def _build_prices(self) -> dict[str, list[object]]:
        rows: dict[str, list[object]] = {
            name: [] for name in ("item_id", "valid_from", "list_price", "offer_price")
        }
        for item, week in np.ndindex(self.n_items, self.n_weeks):
            price = self.price[item, week]
            if week == 0 or price != self.price[item, week - 1]:
                rows["item_id"].append(_name(item))
                rows["valid_from"].append(self._format(week * _MINUTES))
                rows["list_price"].append(f"{self.price[item].max():.2f}")
                rows["offer_price"].append(f"{price:.2f}")
        return rows

    def _build_promotions(self) -> dict[str, list[object]]:
        rows: dict[str, list[object]] = {
            name: [] for name in ("promotion_id", "item_id", "starts_at", "ends_at", "kind")
        }
        assert self.promotions is not None
        for item, week in zip(*np.nonzero(self.promotions), strict=True):
            rows["promotion_id"].append(f"p{week}")
            rows["item_id"].append(_name(int(item)))
            rows["starts_at"].append(self._format(week * _MINUTES))
            rows["ends_at"].append(self._format((week + 1) * _MINUTES))
            rows["kind"].append("flyer")
        return rows

    def _format(self, minute: int) -> str:
        return f"{self.start + timedelta(minutes=int(minute)):%Y-%m-%dT%H:%M:%SZ}"


_EVENT_COLUMNS = (
    "event_type",
    "occurred_at",
    "item_id",
    "user_id",
    "quantity",
    "unit_price",
    "order_id",
)


def _append(rows: dict[str, list[object]], kind: str, at: str, item: int, buyer: int) -> None:
    values = (kind, at, _name(item), f"u{buyer}", "", "", "")
    for name, value in zip(_EVENT_COLUMNS, values, strict=True):
        rows[name].append(value)


def _write(path: Path, rows: Mapping[str, list[object]]) -> None:
    pa_csv.write_csv(pa.table(dict(rows)), path)


def _name(item: int) -> str:
    return f"I{item:03}"


@dataclass
class Means:
    """Mean units by item and week, and what stands around them.

    rate        I × T
    sizes       mean units of an order line
    noise       spread of a gamma factor on each item's week
    """

    rate: Float64Array
    sizes: float = 1.3
    noise: float = 0.1
    more: dict[str, object] = field(default_factory=dict)


def _draw_sizes(
    rng: np.random.Generator, items: tuple[int, int] = (8, 150), weeks: tuple[int, int] = (20, 110)
) -> tuple[int, int]:
    """Return the numbers of items and weeks."""
    n_items = int(np.exp(rng.uniform(*np.log(items))))
    return n_items, int(rng.integers(weeks[0], weeks[1] + 1))


def _draw_levels(
    rng: np.random.Generator, n_items: int, median: float | None = None, spread: float = 0.9
) -> Float64Array:
    """Return I mean units a week, lognormal."""
    middle = float(np.exp(rng.uniform(np.log(1.0), np.log(12)))) if median is None else median
    return np.asarray(middle * np.exp(rng.normal(0, spread, n_items)))


def _steady(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng)
    return Means(np.tile(_draw_levels(rng, n_items)[:, None], n_weeks))


def _young(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, items=(5, 80), weeks=(8, 19))
    growth = np.exp(rng.normal(0, 0.03) * np.arange(n_weeks))
    return Means(_draw_levels(rng, n_items)[:, None] * growth)


def _intermittent(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, items=(20, 150), weeks=(26, 110))
    levels = _draw_levels(rng, n_items, rng.uniform(0.25, 0.9), 0.7)
    return Means(np.tile(levels[:, None], n_weeks), sizes=rng.uniform(1.5, 4))


def _trending(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(30, 110))
    slopes = rng.normal(rng.normal(0, 0.008), 0.008, n_items)
    weeks = np.arange(n_weeks) - n_weeks
    return Means(_draw_levels(rng, n_items)[:, None] * np.exp(slopes[:, None] * weeks), noise=0.15)


def _seasonal(rng: np.random.Generator, years: float) -> Means:
    n_items = _draw_sizes(rng)[0]
    n_weeks = round(years * _YEAR) + int(rng.integers(0, 8))
    weeks = np.arange(n_weeks)
    peaks = rng.uniform(0, _YEAR, 4)[np.arange(n_items) % 4] + rng.normal(0, 1, n_items)
    strength = rng.uniform(0.3, 0.9) * rng.uniform(0.6, 1.2, n_items)
    wave = np.cos(2 * np.pi * (weeks[None] - peaks[:, None]) / _YEAR)
    levels = _draw_levels(rng, n_items)
    growth = np.exp(rng.normal(0, 0.002) * weeks)
    return Means(levels[:, None] * growth * np.exp(strength[:, None] * wave))


def _level_shifts(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(30, 110))
    steps = (rng.random((n_items, n_weeks)) < 1 / 40) * rng.normal(0, 0.8, (n_items, n_weeks))
    shop_wide = (rng.random(n_weeks) < 1 / 60) * rng.normal(0, 0.4, n_weeks)
    walk = np.clip(np.cumsum(steps + shop_wide, axis=1), -2, 2)
    return Means(_draw_levels(rng, n_items)[:, None] * np.exp(walk))


def _launches(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, items=(20, 150), weeks=(30, 110))
    first = np.where(rng.random(n_items) < 0.5, 0, rng.integers(0, n_weeks, n_items))
    life = rng.exponential(60, n_items) + 8
    age = np.arange(n_weeks) - first[:, None]
    novelty = 1 + 1.5 * np.exp(-np.maximum(age, 0) / 4) * (first[:, None] > 0)
    sold = (age >= 0) & (age < life[:, None])
    rate = _draw_levels(rng, n_items)[:, None] * novelty * sold
    return Means(rate, more={"listed": first})


def _long_tail(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, items=(50, 150))
    levels = rng.uniform(40, 200) / (1 + np.arange(n_items)) ** rng.uniform(1.0, 1.5)
    return Means(np.tile(levels[:, None], n_weeks), noise=0.25)


def _views(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, items=(60, 150), weeks=(12, 30))
    return Means(
        np.tile(_draw_levels(rng, n_items, 0.5, 0.8)[:, None], n_weeks),
        sizes=1.0,
        more={"views": _VIEWS_PER_ORDER},
    )


def _price_changes(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(26, 90))
    starts = rng.random((n_items, n_weeks)) < 0.08
    starts[:, 0] = True
    drawn = np.round(rng.uniform(0.75, 1.0, (n_items, n_weeks)), 2)
    latest = np.maximum.accumulate(np.where(starts, np.arange(n_weeks), 0), axis=1)
    ratio = np.take_along_axis(drawn, latest, axis=1)
    rate = _draw_levels(rng, n_items)[:, None] * ratio ** rng.uniform(-3, -1)
    return Means(rate, more={"ratio": ratio, "planned": bool(rng.random() < 0.5)})


def _promotions(rng: np.random.Generator, *, planned: bool) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(26, 100))
    promoted = rng.random((n_items, n_weeks)) < rng.uniform(0.04, 0.15)
    rate = _draw_levels(rng, n_items)[:, None] * np.where(promoted, rng.uniform(1.8, 3.5), 1.0)
    ratio = np.where(promoted, 0.8, 1.0)
    return Means(rate, more={"ratio": ratio} | ({"promotions": promoted} if planned else {}))


def _holidays(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(30, 120))
    factor = np.exp(rng.normal(0, 0.05, n_weeks))
    for week in range(n_weeks):
        day = END - timedelta(weeks=n_weeks - week)
        if day.month == 12:
            factor[week] *= 1 + 1.2 * (day.day <= 20)
        if day.month == 8:
            factor[week] *= 0.6
    factor[rng.integers(0, n_weeks, 2)] *= 1.6
    return Means(_draw_levels(rng, n_items)[:, None] * factor)


def _closed(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(30, 90))
    first = int(rng.integers(8, n_weeks - 14))
    factor = np.ones(n_weeks)
    factor[first : first + int(rng.integers(2, 9))] = 0
    return Means(_draw_levels(rng, n_items)[:, None] * factor)


def _bulk_orders(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng, weeks=(26, 90))
    rate = np.tile(_draw_levels(rng, n_items)[:, None], n_weeks)
    bulk = rng.random(rate.shape) < 0.004
    return Means(rate, more={"bulk": bulk * rng.integers(20, 120, rate.shape)})


def _noisy(rng: np.random.Generator) -> Means:
    n_items, n_weeks = _draw_sizes(rng)
    walk = np.cumsum(rng.normal(0, 0.06, (n_items, n_weeks)), axis=1)
    shop_wide = np.cumsum(rng.normal(0, 0.04, n_weeks))
    return Means(_draw_levels(rng, n_items)[:, None] * np.exp(walk + shop_wide), noise=0.4)


_RATES: Mapping[str, Callable[[np.random.Generator], Means]] = {
    "steady": _steady,
    "young": _young,
    "intermittent": _intermittent,
    "trending": _trending,
    "seasonal, one year": lambda rng: _seasonal(rng, 1.2),
    "seasonal, two years": lambda rng: _seasonal(rng, 2.1),
    "seasonal, three years": lambda rng: _seasonal(rng, 3.1),
    "level shifts": _level_shifts,
    "launches and delistings": _launches,
    "long tail": _long_tail,
    "views": _views,
    "price changes": _price_changes,
    "promotions": lambda rng: _promotions(rng, planned=True),
    "promotions without plan": lambda rng: _promotions(rng, planned=False),
    "holidays": _holidays,
    "closed weeks": _closed,
    "bulk orders": _bulk_orders,
    "random walks": _noisy,
}


def draw_orders(means: Means, rng: np.random.Generator) -> Orders:
    """Draw order lines: gamma noise, Poisson lines, geometric units, a minute in the week."""
    rate = means.rate
    noise = rng.gamma(1 / means.noise**2, means.noise**2, rate.shape)
    lines = rng.poisson(rate * noise / means.sizes)
    item, week = (index.repeat(lines.ravel()) for index in _flat_index(rate.shape))
    units = rng.geometric(1 / means.sizes, len(item))
    bulk = means.more.get("bulk")
    if isinstance(bulk, np.ndarray):
        bulk_item, bulk_week = np.nonzero(bulk)
        item, week = np.append(item, bulk_item), np.append(week, bulk_week)
        units = np.append(units, bulk[bulk_item, bulk_week])
    day = rng.choice(7, len(item), p=_WEEKDAYS / _WEEKDAYS.sum())
    minute = week * _MINUTES + day * 1440 + rng.integers(420, 1320, len(item))
    buyer = rng.integers(0, max(20, len(item) // 25), len(item))
    return Orders(item, minute, units, buyer)


def _flat_index(shape: tuple[int, ...]) -> tuple[Int64Array, Int64Array]:
    item, week = np.indices(shape)
    return item.ravel(), week.ravel()


def _draw_buyers(rng: np.random.Generator, days_between: float) -> tuple[Orders, int, int]:
    """Draw buyers with a cycle of their own who choose among the items they like."""
    n_items, n_weeks = _draw_sizes(rng, items=(10, 80), weeks=(14, 80))
    n_buyers = int(rng.integers(30, 200))
    n_liked = min(n_items, int(rng.integers(3, 9)))
    appeal = rng.gamma(1.0, 1.0, n_items) + 0.05
    appeal /= appeal.sum()
    item, minute, buyer = [], [], []
    for person in range(n_buyers):
        liked = rng.choice(n_items, n_liked, replace=False, p=appeal)
        cycle = days_between * rng.uniform(0.6, 1.6)
        day = rng.uniform(0, cycle) + (rng.random() < 0.3) * rng.uniform(0, 7 * n_weeks)
        leaves = 7 * n_weeks * (1 if rng.random() < 0.7 else rng.random())
        while day < leaves:
            chosen = rng.choice(liked, int(rng.integers(1, min(4, n_liked) + 1)), replace=False)
            item += chosen.tolist()
            minute += [int(day * 1440)] * len(chosen)
            buyer += [person] * len(chosen)
            day += cycle * rng.uniform(0.7, 1.3)
    units = 1 + (rng.random(len(item)) < 0.2)
    return Orders(np.array(item), np.array(minute), units, np.array(buyer)), n_items, n_weeks


BUYERS = {"weekly buyers": 7.0, "monthly buyers": 30.0}
KINDS = (*_RATES, *BUYERS)


def draw_shop(kind: str, seed: int) -> DemandShop:
    """Return the shop of a kind that this seed draws."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind in BUYERS:
        orders, n_items, n_weeks = _draw_buyers(rng, BUYERS[kind])
        more: dict[str, object] = {}
    else:
        means = _RATES[kind](rng)
        (n_items, n_weeks), more = means.rate.shape, means.more
        orders = draw_orders(means, rng)
    ratio = more.pop("ratio", np.ones((n_items, n_weeks)))
    more.pop("bulk", None)
    usual = np.round(rng.uniform(2, 40, n_items), 2)
    return DemandShop(
        n_items=n_items,
        n_weeks=n_weeks,
        orders=orders,
        price=np.round(usual[:, None] * np.asarray(ratio), 2),
        n_categories=int(rng.integers(2, 7)),
        **more,  # type: ignore[arg-type]
    )
