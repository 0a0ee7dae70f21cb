"""Units of a price test: families, or items without one, each with its two prices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.designs.price_designs import Periods
from features.contracts.arrays import Float64Array
from features.contracts.pricing import Objective, PricingItem
from models.pricing.optimise.bounds import find_allowed_prices
from models.pricing.response.elasticity import CrossElasticities
from models.pricing.rules import AssortmentPart, PricingRules, select_rules

# Weeks without a promotion or a short delivery, which the analysis can use.
USABLE_SHARE = 0.75
LEAST_LOG_RATIO = 0.03  # between the two prices of an item
NO_ROOM = f"the rules leave no two prices {LEAST_LOG_RATIO:.0%} apart"
NO_FORECAST = "no demand is forecast, or no price response is known"
SELLS_OUT = "its stock is to be sold off"
ItemZone = tuple[str, str]  # an item and a zone


@dataclass(frozen=True)
class ItemPrices:
    """The two prices of an item in a test, and the one before it; minor units.

    ladder      all prices that the rules allow, ascending
    new_minor   in a roll-out one of the two: the price that comes to stay
    """

    item_id: str
    zone: str
    current_minor: int
    lower_minor: int
    higher_minor: int
    ladder: tuple[int, ...]
    new_minor: int | None = None

    def find_price(self, *, is_test_price: bool) -> int:
        """Return the test price, or the other one: the new price or the present one of a roll-out,
        else the higher or the lower one."""
        if self.new_minor is not None:
            return self.new_minor if is_test_price else self.current_minor
        return self.higher_minor if is_test_price else self.lower_minor

    def find_log_ratio(self, *, is_test_price: bool) -> float:
        """Return the test price, or the other one, against the price before, in logarithms."""
        return math.log(self.find_price(is_test_price=is_test_price) / self.current_minor)

    @property
    def log_ratios(self) -> tuple[float, float]:
        """Lower and higher price against the one before, in logarithms."""
        return (
            math.log(self.lower_minor / self.current_minor),
            math.log(self.higher_minor / self.current_minor),
        )

    @property
    def key(self) -> ItemZone:
        """The item and its zone."""
        return self.item_id, self.zone

    @property
    def log_move(self) -> float:
        """From the other price to the test price, in logarithms."""
        log_ratio = self.find_log_ratio
        return log_ratio(is_test_price=True) - log_ratio(is_test_price=False)

    @property
    def log_distance(self) -> float:
        """Between the two prices."""
        return math.log(self.higher_minor / self.lower_minor)

    def scale(self, depth: float) -> ItemPrices:
        """Return the prices at a share of the way from the current price to the ladder's ends."""

        def move(end: int) -> int:
            target = self.current_minor + depth * (end - self.current_minor)
            return min(self.ladder, key=lambda price: (abs(price - target), price))

        return replace(self, lower_minor=move(self.ladder[0]), higher_minor=move(self.ladder[-1]))


@dataclass(frozen=True)
class PriceUnit:
    """Items that change their prices together: one family, or one item.

    rows   index of each item among those that were planned with
    """

    name: str
    category: str
    rows: tuple[int, ...]
    prices: tuple[ItemPrices, ...]

    def scale(self, depth: float) -> PriceUnit:
        """Return the unit with prices at a share of the way to the ends of the allowed ones."""
        return replace(self, prices=tuple(prices.scale(depth) for prices in self.prices))


def build_units(
    items: Sequence[PricingItem],
    rules: PricingRules,
    presets: Mapping[str, PricingRules],
) -> tuple[list[PriceUnit], dict[str, str]]:
    """Return the units that can be tested, and why the others cannot, by name.

    A family is tested as a whole: one item that must keep its price holds the others back.
    """
    rows_of: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        rows_of.setdefault(name_unit(item), []).append(row)
    units, reasons = [], {}
    for name, rows in rows_of.items():
        prices = [_find_prices(items[row], rules, presets) for row in rows]
        problems = [problem for problem in prices if isinstance(problem, str)]
        if problems:
            reasons[name] = problems[0]
            continue
        complete = tuple(pair for pair in prices if isinstance(pair, ItemPrices))
        units.append(PriceUnit(name, items[rows[0]].category, tuple(rows), complete))
    return units, reasons


def compute_test_errors(
    units: Sequence[PriceUnit], weekly_units: Float64Array, periods: Periods, noise: float
) -> Float64Array:
    """Return the standard error (N,) that a test leaves on each item's slope; infinite without one.

    Half of the analysed weeks at each price: the log price is half the distance from its mean.
    """
    error = np.full(len(weekly_units), np.inf)
    weeks = USABLE_SHARE * periods.n_analysed_weeks
    for unit in units:
        for row, prices in zip(unit.rows, unit.prices, strict=True):
            variance = 1 / max(float(weekly_units[row]), 1e-9) + noise
            if prices.log_distance > 0:
                error[row] = math.sqrt(variance / weeks) / (prices.log_distance / 2)
    return error


def sum_cross_effects(
    effects: CrossElasticities, keys: Sequence[ItemZone], units: Sequence[PriceUnit]
) -> dict[ItemZone, float]:
    """Return by item and zone what the other items of its unit add to its slope when all move.

    `effects` number items by their index in `keys`. An item that moves half as far as another one,
    or the other way, gets half of its effect, or the opposite.
    """
    unit_of = {prices.key: unit.name for unit in units for prices in unit.prices}
    move_of = {prices.key: prices.log_move for unit in units for prices in unit.prices}
    sums = {key: 0.0 for key in keys if key in unit_of}
    pairs = zip(
        effects.units_of.tolist(),
        effects.price_of.tolist(),
        effects.elasticity.tolist(),
        strict=True,
    )
    for moved, mover, elasticity in pairs:
        key, other = keys[moved], keys[mover]
        if key in unit_of and unit_of[key] == unit_of.get(other) and move_of[key]:
            sums[key] += elasticity * move_of[other] / move_of[key]
    return sums


def name_unit(item: PricingItem) -> str:
    """Return the name of the unit that an item is tested in: its family's, or its own."""
    return f"{item.zone}/{item.family_id or item.item_id}"


def _find_prices(
    item: PricingItem, rules: PricingRules, presets: Mapping[str, PricingRules]
) -> ItemPrices | str:
    if item.hold is not None:
        return item.hold
    if item.units_mean <= 0 or math.isnan(item.elasticity):
        return NO_FORECAST
    part = AssortmentPart.of(item)
    of_item = select_rules(rules, presets.get(part.stage)).apply_scopes(part)
    if of_item.objective is Objective.SELL_THROUGH:
        return SELLS_OUT
    # A test is how a regular price that never moved gets to be known: no smaller step limits it.
    ladder = tuple(find_allowed_prices(replace(item, n_regular_changes=None), of_item).prices)
    if len(ladder) < 2 or math.log(ladder[-1] / ladder[0]) < LEAST_LOG_RATIO:
        return NO_ROOM
    return ItemPrices(
        item.item_id, item.zone, item.current_price_minor, ladder[0], ladder[-1], ladder
    )
