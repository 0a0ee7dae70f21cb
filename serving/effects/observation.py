"""From weekly sums of sales and frozen forecasts to observed changes: which weeks count, and why
others do not.

n items of a zone are in the forecasts, over W whole weeks; the week before them is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from models.demand.frozen_forecasts import MAX_WEEKS, FrozenForecasts
from models.pricing.effects.counterfactuals import (
    Control,
    ControlShift,
    SoldItems,
    build_control,
)
from models.pricing.effects.estimate import ObservedChanges
from serving.effects.repository import PriceChange

if TYPE_CHECKING:
    from features.facts.weekly_sales import WeeklySales

# The old price may take a tenth of a week: changes begin on Monday morning, weeks at midnight.
_OWN_SHARE = 0.1
_SAME_PRICE = 2e-3
_LEAST_ERROR = 0.02  # of what a category misses together, however good the backtests were
# Why a week does not count, the first reason that applies.
CLOSED, PROMOTED, SOLD_OUT = "the zone was closed", "another promotion ran", "it was sold out"
OTHER_PRICE, NO_FORECAST = "another price was valid", "no forecast"
REASONS = (NO_FORECAST, CLOSED, OTHER_PRICE, PROMOTED, SOLD_OUT)


@dataclass(frozen=True)
class ItemGroups:
    """Category and family of the items, "" where unknown."""

    category: Mapping[str, str]
    family: Mapping[str, str]


@dataclass(frozen=True)
class CountedWeeks:
    """Of one change: how many whole weeks are over, how many count, and why others do not."""

    n_over: int
    n_counted: int
    left_out: Mapping[str, int]

    def overtake(self) -> CountedWeeks:
        """Return the weeks of a change after which another one of the item began."""
        n_other = self.left_out.get(OTHER_PRICE, 0) + self.n_counted
        left_out = {**self.left_out, OTHER_PRICE: n_other}
        ordered = {name: left_out[name] for name in REASONS if name in left_out}
        return CountedWeeks(self.n_over, 0, ordered)


@dataclass(frozen=True)
class Observation:
    """Changes whose first whole week is the same.

    weeks      of each change
    changes    those with a week that counts, `rows` their positions; one of an item
    control    of them
    """

    first_week: datetime
    weeks: list[CountedWeeks]
    changes: ObservedChanges | None
    control: Control | None
    rows: list[int]


@dataclass(frozen=True)
class _Panel:
    """Forecasts and sales of the same items and weeks.

    units, mean, assumed, offer   (n, W); reference   (n,) the offer price of the week before
    known   (W,) weeks that the forecasts have
    """

    frozen: FrozenForecasts
    units: Float64Array
    mean: Float64Array
    assumed: Float64Array
    offer: Float64Array
    reference: Float64Array
    known: BoolArray
    sales: WeeklySales


def observe_changes(
    frozen: FrozenForecasts,
    sales: WeeklySales,
    changes: Sequence[PriceChange],
    groups: ItemGroups,
    tax_divisor: float,
) -> Observation:
    """Return what the weeks of `sales` after the first one show of changes that began in them.

    sales   of the items of `frozen`, in their order
    """
    panel = _arrange(frozen, sales)
    position = {item_id: row for row, item_id in enumerate(frozen.item_ids)}
    n_weeks = panel.units.shape[1]
    weeks, counts = [], {}
    for row, change in enumerate(changes):
        item = position.get(change.item_id)
        if item is None:
            weeks.append(CountedWeeks(n_weeks, 0, {NO_FORECAST: n_weeks} if n_weeks else {}))
            continue
        reasons = _find_reasons(panel, item, change)
        counted = np.array([reason is None for reason in reasons], bool)
        left_out = {name: reasons.count(name) for name in REASONS if name in reasons}
        weeks.append(CountedWeeks(n_weeks, int(counted.sum()), left_out))
        if counted.any():
            counts[row] = counted
    for row in _find_overtaken(changes, list(counts)):
        del counts[row]
        weeks[row] = weeks[row].overtake()
    first_week = sales.week_starts[1]
    rows = list(counts)
    if not rows:
        return Observation(first_week, weeks, None, None, [])
    chosen = [changes[row] for row in rows]
    items = np.array([position[change.item_id] for change in chosen], np.int64)
    before = np.array([change.before_minor for change in chosen], np.float64)
    counted = np.stack([counts[row] for row in rows])
    sold = _sum_counted(panel, items, counted, before, groups)
    control = build_control(sold, items, _find_common_error(frozen, n_weeks))
    observed = _describe_changes(chosen, sold.units[items], control, tax_divisor)
    return Observation(first_week, weeks, observed, control, rows)


def measure_shift(
    frozen: FrozenForecasts, sales: WeeklySales, item_ids: Sequence[str], groups: ItemGroups
) -> ControlShift | None:
    """Return by which factor unchanged items sold more than forecast in the weeks of `sales` after
    the first one, for some others; None where the forecast says more."""
    panel = _arrange(frozen, sales)
    position = {item_id: row for row, item_id in enumerate(frozen.item_ids)}
    known = [position[item_id] for item_id in dict.fromkeys(item_ids) if item_id in position]
    n_weeks = panel.units.shape[1]
    if not known or not panel.known.any():
        return None
    items = np.array(known, np.int64)
    counted = np.repeat(panel.known[None, :], len(items), axis=0)
    sold = _sum_counted(panel, items, counted, panel.reference[items], groups)
    control = build_control(sold, items, _find_common_error(frozen, n_weeks))
    expected = float(sold.expected[items].sum())
    carrying = [group for group in control.groups if group.carries]
    if not carrying or expected <= 0:
        return None
    names = list(dict.fromkeys(group.describe() for group in carrying))
    keeping = float(control.keeping.sum())
    by_group = np.bincount(control.error_group, control.keeping * control.error)
    error = float(np.linalg.norm(by_group)) / keeping
    return ControlShift("; ".join(names), keeping / expected, error)


def _find_overtaken(changes: Sequence[PriceChange], rows: Sequence[int]) -> list[int]:
    """Return those of these changes after which another one of their item began.

    The sales of a week are those of one price.
    """
    latest: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: changes[row].begins_at):
        latest[changes[row].item_id] = row
    return [row for row in rows if latest[changes[row].item_id] != row]


def _find_common_error(frozen: FrozenForecasts, n_weeks: int) -> float:
    return max(float(frozen.common_error[min(n_weeks, MAX_WEEKS) - 1]), _LEAST_ERROR)


def _arrange(frozen: FrozenForecasts, sales: WeeklySales) -> _Panel:
    starts = {start: week for week, start in enumerate(frozen.week_starts)}
    places = [starts.get(start) for start in sales.week_starts[1:]]
    shape = len(frozen.item_ids), len(places)
    mean, assumed = np.zeros(shape), np.full(shape, np.nan)
    for week, place in enumerate(places):
        if place is not None:
            mean[:, week] = frozen.mean[:, place]
            assumed[:, week] = frozen.price_minor[:, place]
    known = np.array([place is not None for place in places], bool)
    return _Panel(
        frozen=frozen,
        units=sales.units[:, 1:],
        mean=mean,
        assumed=assumed,
        offer=sales.offer_minor[:, 1:],
        reference=sales.offer_minor[:, 0],
        known=known,
        sales=sales,
    )


def _find_reasons(panel: _Panel, item: int, change: PriceChange) -> list[str | None]:
    """Return why each week of a changed item does not count; None where it does."""
    sales, moved = panel.sales, abs(change.after_minor - change.before_minor)
    away = np.abs(panel.offer[item] - change.after_minor)
    promoted = sales.promoted[item, 1:].copy()
    if change.kind == "regular":
        promoted |= sales.reduced[item, 1:]
    failing = {
        NO_FORECAST: ~panel.known | (panel.mean[item] <= 0),
        CLOSED: sales.closed[1:],
        # An unknown price is another one too.
        OTHER_PRICE: ~(away <= _OWN_SHARE * moved + 1e-6),
        PROMOTED: promoted,
        SOLD_OUT: sales.sold_out[item, 1:],
    }
    return [
        next((name for name in REASONS if failing[name][week]), None)
        for week in range(panel.units.shape[1])
    ]


def _sum_counted(
    panel: _Panel,
    items: Int64Array,
    counted: BoolArray,
    before: Float64Array,
    groups: ItemGroups,
) -> SoldItems:
    """Return the sums of all items over the weeks that count of each.

    items, counted, before   of the changes: (m,), (m, W), and the offer prices of before (m,)
    """
    sales, frozen = panel.sales, panel.frozen
    reference = panel.reference[:, None]
    same = np.abs(panel.offer - reference) <= _SAME_PRICE * reference
    # The price list is silent about an item whose price was only ever observed in sales.
    same |= np.isnan(panel.offer) & np.isnan(reference)
    disturbed = sales.promoted[:, 1:] | sales.reduced[:, 1:]
    counts = same & ~disturbed & ~sales.sold_out[:, 1:] & ~sales.closed[1:] & panel.known
    # An item whose price moved in any week of its own accord is no control.
    is_control = np.asarray((same | disturbed).all(axis=1), bool)
    is_control[items] = False
    counts[items] = counted
    price = panel.offer.copy()
    price[items] = before[:, None]
    elasticity = np.nan_to_num(frozen.elasticity)[:, None]
    ratio = np.nan_to_num(price / panel.assumed, nan=1.0, posinf=1.0)
    expected = panel.mean * np.where(ratio > 0, ratio, 1.0) ** elasticity
    span = np.clip(counts.sum(axis=1), 1, MAX_WEEKS) - 1
    return SoldItems(
        units=(panel.units * counts).sum(axis=1),
        expected=(expected * counts).sum(axis=1),
        dispersion=frozen.dispersion[np.arange(len(span)), span],
        category=_look_up(groups.category, frozen.item_ids),
        family=_look_up(groups.family, frozen.item_ids),
        is_control=is_control,
    )


def _describe_changes(
    changes: Sequence[PriceChange], sold: Float64Array, control: Control, tax_divisor: float
) -> ObservedChanges:
    before = np.array([change.before_minor for change in changes], np.float64)
    after = np.array([change.after_minor for change in changes], np.float64)
    log_ratio = np.log(after / before)
    elasticity = _read_numbers(change.elasticity for change in changes)
    error = _read_numbers(change.elasticity_error for change in changes)
    return ObservedChanges(
        sold=np.maximum(sold, 0.0),
        keeping=control.keeping,
        dispersion=control.dispersion,
        control_error=control.error,
        group=control.error_group,
        predicted=elasticity * log_ratio,
        predicted_error=np.nan_to_num(np.abs(error * log_ratio)),
        net_before=before / tax_divisor,
        net_after=after / tax_divisor,
        unit_cost=_read_numbers(change.unit_cost_minor for change in changes),
    )


def _read_numbers(values: Iterable[float | None]) -> Float64Array:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _look_up(values: Mapping[str, str], item_ids: Sequence[str]) -> ObjectArray:
    return np.array([values.get(item_id) or "" for item_id in item_ids], object)
