"""Switchbacks and roll-outs that somebody requests: their units, expected cost and error.

A person chooses them, who reads the cost and the error that they leave; a portfolio's tests are
chosen by their expected gain.

N items of all zones, P periods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.designs.decision_value import PriceDecisions
from experiments.designs.portfolio import KnownItems, PlannedTest, ProgrammeLimits
from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import (
    LEAST_LOG_RATIO,
    NO_ROOM,
    USABLE_SHARE,
    ItemPrices,
    PriceUnit,
    build_units,
    name_unit,
)
from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.categories import prefix
from features.contracts.pricing import PricingItem
from models.pricing.implied_costs import CATEGORY_DEPTH
from models.pricing.response.randomised import UncertainSlopes
from models.pricing.rules import PricingRules

# Of the way from the present price to the ends of the allowed ones: a whole zone moves.
_DEPTH = 0.5
# Assumed variance of what happens to the log units of a whole zone or category in a period.
SHARED_NOISE = 0.01
NOT_EVERYWHERE = "it cannot be tested in every zone"
TOO_MANY = "other items sell for more, and there are enough of them"
NEW_PRICE_FORBIDDEN = "its new price breaks rules"
NO_CATEGORY = "no category"


@dataclass(frozen=True)
class ChosenUnits:
    """The units of a test, and why other families and items are left out, by name."""

    units: tuple[PriceUnit, ...]
    untested: Mapping[str, str]

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many families and items are left out, by reason, the most frequent first."""
        return dict(Counter(self.untested.values()).most_common())


def choose_zone_units(
    items: Sequence[PricingItem],
    rules: PricingRules,
    presets: Mapping[str, PricingRules],
    max_items: int,
) -> ChosenUnits:
    """Return the zones of `items` as units of a switchback: families that can be tested in every
    zone, those that sell for most, up to a number of items."""
    zones = sorted({item.zone for item in items})
    units, untested = build_units(items, rules, presets)
    by_family: dict[str, dict[str, PriceUnit]] = {}
    for unit in [unit.scale(_DEPTH) for unit in units]:
        if min(prices.log_distance for prices in unit.prices) < LEAST_LOG_RATIO:
            untested[unit.name] = NO_ROOM
            continue
        item = items[unit.rows[0]]
        by_family.setdefault(item.family_id or item.item_id, {})[item.zone] = unit

    def compute_turnover(family: str) -> float:
        rows = [row for unit in by_family[family].values() for row in unit.rows]
        return sum(items[row].units_mean * items[row].current_price_minor for row in rows)

    chosen: list[dict[str, PriceUnit]] = []
    n_items = 0
    for family in sorted(by_family, key=lambda family: (-compute_turnover(family), family)):
        of_zone = by_family[family]
        n_more = len({prices.item_id for unit in of_zone.values() for prices in unit.prices})
        if len(of_zone) < len(zones):
            untested |= {unit.name: NOT_EVERYWHERE for unit in of_zone.values()}
        elif n_items + n_more > max_items:
            untested |= {unit.name: TOO_MANY for unit in of_zone.values()}
        else:
            chosen.append(of_zone)
            n_items += n_more
    if not chosen:
        return ChosenUnits((), untested)
    of_zones = [_join(zone, [of_zone[zone] for of_zone in chosen]) for zone in zones]
    return ChosenUnits(tuple(of_zones), untested)


def choose_category_units(
    items: Sequence[PricingItem], new_prices: Mapping[str, int], forbidden: Mapping[str, str]
) -> ChosenUnits:
    """Return the categories of the items with a new price as units of a roll-out; a family lies in
    the category of its first item.

    `new_prices`: minor units by item id; `forbidden`: the rules that some of them break.
    """
    untested: dict[str, str] = {}
    category_of: dict[str, str] = {}
    units: dict[str, list[PriceUnit]] = {}
    for row, item in enumerate(items):
        new_minor = new_prices.get(item.item_id)
        category = category_of.setdefault(
            name_unit(item), prefix(item.category, CATEGORY_DEPTH) or NO_CATEGORY
        )
        if new_minor is None or new_minor == item.current_price_minor:
            continue
        reason = item.hold
        if item.item_id in forbidden:
            reason = f"{NEW_PRICE_FORBIDDEN}: {forbidden[item.item_id]}"
        if reason is not None:
            untested[f"{item.zone}/{item.item_id}"] = reason
            continue
        low, high = sorted((item.current_price_minor, new_minor))
        prices = ItemPrices(
            item.item_id, item.zone, item.current_price_minor, low, high, (), new_minor
        )
        units.setdefault(category, []).append(PriceUnit(category, category, (row,), (prices,)))
    joined = [_join(category, members) for category, members in sorted(units.items())]
    return ChosenUnits(tuple(joined), untested)


def expect_costs(
    known: KnownItems,
    decisions: PriceDecisions,
    test: PriceTest,
    units: Sequence[PriceUnit],
    limits: ProgrammeLimits,
) -> tuple[PlannedTest, ...]:
    """Return each unit with its expected cost; gains count as in a portfolio.

    Its error before the test is NaN where no response is known, the one after it always: such a
    test measures no single item.
    """
    log_price = _spread_log_prices(known.items, test, test.assignment)
    slopes = known.build_slopes()
    no_error = np.zeros(len(known.items))
    gains = [decisions.expect_gain(of_period, slopes.mean, no_error) for of_period in log_price.T]
    gain = np.stack(gains, axis=1)
    gain = np.where(gain > 0, limits.credit, 1.0) * gain
    error_now = np.array([item.elasticity_error for item in known.items], np.float64)
    gain = np.where(np.isfinite(error_now)[:, None], gain, 0.0)
    if test.keeps_prices:
        # What the new prices would have brought where they come later.
        cost = test.periods.period_weeks * (gain[:, -1:] - gain).sum(1)
    else:
        cost = _expect_switchback_cost(decisions, slopes, gain, log_price, test, limits)
    return tuple(
        PlannedTest(
            unit=unit,
            cost=float(cost[list(unit.rows)].sum()),
            error_now=_average_known(error_now[list(unit.rows)]),
            error_after=np.nan,
        )
        for unit in units
    )


def expect_error(
    items: Sequence[PricingItem], weekly_units: Float64Array, test: PriceTest, noise: float
) -> float | None:
    """Return the standard error of the slope that all items have in common; None where the test has
    too few clusters to estimate it.

    An item has the noise of its sales, and shares with its zone or category what happens to that in
    a period: `SHARED_NOISE`.
    """
    if not test.has_error:
        return None
    price = _spread_log_prices(items, test, test.assignment)
    expected = _spread_log_prices(items, test, test.build_design().expected_assignment)
    weeks = USABLE_SHARE * (test.periods.period_weeks - test.periods.burn_in_weeks)
    is_tested = (price != 0).any(1)
    variance = (1 / np.maximum(weekly_units[is_tested], 1e-9) + noise) / weeks
    weight = 1 / variance
    price = _remove_levels(price[is_tested], weight)
    control = _remove_levels(expected[is_tested], weight)
    explained = float((weight @ control**2).sum())
    if explained > 1e-12:
        price = price - float((weight @ (control * price)).sum()) / explained * control
    scores = weight[:, None] * price
    information = float((scores * price).sum())
    if information <= 1e-12:
        return None
    unit_of = {prices.key: unit.name for unit in test.units for prices in unit.prices}
    names = [unit_of.get((item.item_id, item.zone), "") for item in items]
    _, unit = np.unique(np.array(names)[is_tested], return_inverse=True)
    of_units = np.zeros((int(unit.max()) + 1, scores.shape[1]))
    np.add.at(of_units, unit, scores)
    shared = SHARED_NOISE * float((of_units**2).sum()) / information**2
    return float(np.sqrt(1 / information + shared))


def _expect_switchback_cost(
    decisions: PriceDecisions,
    slopes: UncertainSlopes,
    gain: Float64Array,
    log_price: Float64Array,
    test: PriceTest,
    limits: ProgrammeLimits,
) -> Float64Array:
    """Return what the present decisions gain (N,), less the gain (N, P) at the prices of the test,
    and what switching costs."""
    present = decisions.evaluate(
        slopes.mean[None], np.sqrt(slopes.variance), decisions.n_changes_missing
    )[0]
    cost = test.periods.period_weeks * (limits.credit * present[:, None] - gain).sum(1)
    moved = np.abs(np.diff(log_price, axis=1, prepend=0.0, append=0.0)).sum(1)
    return np.asarray(cost + limits.switch_weeks * np.abs(decisions.weekly_value) * moved / 2)


def _average_known(errors: Float64Array) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else np.nan


def _remove_levels(values: Float64Array, weight: Float64Array) -> Float64Array:
    """Return values (N, P) less the levels of items and, by their weight (N,), of periods."""
    rest = values - values.mean(1, keepdims=True)
    return np.asarray(rest - np.average(rest, axis=0, weights=weight))


def _spread_log_prices(
    items: Sequence[PricingItem], test: PriceTest, assignment: BoolArray | Float64Array
) -> Float64Array:
    """Return log prices (N, P) against those before the test; 0 for items outside of it."""
    keys = [(item.item_id, item.zone) for item in items]
    return test.compute_log_prices(keys, assignment)[0]


def _join(name: str, units: Sequence[PriceUnit]) -> PriceUnit:
    """Return one unit of all their items."""
    return replace(
        units[0],
        name=name,
        rows=tuple(row for unit in units for row in unit.rows),
        prices=tuple(prices for unit in units for prices in unit.prices),
    )
