"""A price test as it is filed: its units, and the price of every item in every period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from experiments.designs.price_designs import (
    Crossover,
    Periods,
    PriceDesign,
    SteppedRollout,
    Switchback,
)
from experiments.designs.tested_units import ItemPrices, ItemZone, PriceUnit
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import prefix
from features.contracts.pricing import PriceTestDesign
from features.contracts.seeds import generator
from models.pricing.implied_costs import CATEGORY_DEPTH

LEAST_CLUSTERS = 4  # of an error, which a level and a slope leave two of


@dataclass(frozen=True)
class AssignedUnit:
    """Items that change their prices together, with what chance gave them in each period.

    A family, or an item without one; in a switchback a zone, in a roll-out a category.

    has_test_price   by period: whether its items have their test price, the higher one of a
                     crossover or a switchback, the new one of a roll-out
    cross            by item: what the other items of the unit add to its slope, since they move
                     with it
    """

    name: str
    stratum: str
    prices: tuple[ItemPrices, ...]
    has_test_price: tuple[bool, ...]
    cross: tuple[float, ...]


@dataclass(frozen=True)
class PriceTest:
    """A test of the items of a zone, in a switchback of several zones."""

    periods: Periods
    units: tuple[AssignedUnit, ...]
    design: PriceTestDesign = PriceTestDesign.CROSSOVER

    def build_design(self) -> PriceDesign:
        """Return the design, whose assignments a randomisation test draws anew."""
        names = tuple(unit.name for unit in self.units)
        strata = tuple(unit.stratum for unit in self.units)
        return build_design(self.design, names, strata, self.periods)

    @property
    def has_error(self) -> bool:
        """Whether units, or the periods of a switchback, are enough to estimate an error from."""
        is_by_period = self.design is PriceTestDesign.SWITCHBACK
        n_clusters = self.periods.n_periods if is_by_period else len(self.units)
        return n_clusters >= LEAST_CLUSTERS

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones of its items, in order."""
        return tuple(sorted({prices.zone for unit in self.units for prices in unit.prices}))

    @property
    def item_ids(self) -> list[str]:
        """The items under test, unit by unit."""
        return list(dict.fromkeys(prices.item_id for unit in self.units for prices in unit.prices))

    @property
    def keeps_prices(self) -> bool:
        """Whether the prices of the last period stay after the end, as those of a roll-out do."""
        return self.design is PriceTestDesign.ROLLOUT

    @property
    def cross(self) -> dict[ItemZone, float]:
        """By item and zone: what the other items of its unit add to its slope."""
        return {
            prices.key: cross
            for unit in self.units
            for prices, cross in zip(unit.prices, unit.cross, strict=True)
        }

    def find_prices(self, period: int) -> dict[ItemZone, int]:
        """Return the price of each item and zone in a period, minor units; after the last one
        those that stay."""
        if period >= self.periods.n_periods and not self.keeps_prices:
            return self.find_prices_before()
        period = min(period, self.periods.n_periods - 1)
        return {
            prices.key: prices.find_price(is_test_price=unit.has_test_price[period])
            for unit in self.units
            for prices in unit.prices
        }

    def find_filed_prices(self, period: int) -> dict[ItemZone, int]:
        """Return the prices of a period that are filed where an item costs something else; of a
        roll-out the new ones alone."""
        prices, before = self.find_prices(period), self.find_prices_before()
        if not self.keeps_prices:
            return prices
        return {key: price for key, price in prices.items() if price != before[key]}

    def find_prices_before(self) -> dict[ItemZone, int]:
        """Return the price of each item and zone before the test, minor units."""
        return {prices.key: prices.current_minor for unit in self.units for prices in unit.prices}

    @property
    def assignment(self) -> BoolArray:
        """(U, P) whether a unit has its test price."""
        return np.array([unit.has_test_price for unit in self.units], bool)

    def compute_log_prices(
        self, keys: Sequence[ItemZone], assignment: BoolArray | Float64Array
    ) -> tuple[Float64Array, Int64Array]:
        """Return log prices (N, P) against those before the test, and units (N,).

        Items that are not tested have 0, and are each a unit of their own. Of the shares of an
        expected assignment the prices are means.
        """
        row_of = {key: row for row, key in enumerate(keys)}
        log_price = np.zeros((len(keys), self.periods.n_periods))
        unit_of = np.arange(len(keys)) + len(self.units)
        for number, unit in enumerate(self.units):
            for prices in unit.prices:
                row = row_of.get(prices.key)
                if row is not None:
                    test_price = prices.find_log_ratio(is_test_price=True)
                    other_price = prices.find_log_ratio(is_test_price=False)
                    share = np.asarray(assignment[number], np.float64)
                    log_price[row] = share * test_price + (1 - share) * other_price
                    unit_of[row] = number
        return log_price, unit_of

    def to_document(self) -> dict[str, object]:
        """Return the test as JSON values."""
        return {
            "design": str(self.design),
            "periods": asdict(self.periods),
            "units": [asdict(unit) for unit in self.units],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> PriceTest:
        """Return the test that `to_document` wrote; an older one without a design is a
        crossover."""
        units = document["units"]
        periods = document["periods"]
        assert isinstance(units, list) and isinstance(periods, dict)  # noqa: S101
        design = PriceTestDesign(str(document.get("design", PriceTestDesign.CROSSOVER)))
        return cls(Periods(**periods), tuple(map(_read_unit, units)), design)


def build_design(
    design: PriceTestDesign, names: tuple[str, ...], strata: tuple[str, ...], periods: Periods
) -> PriceDesign:
    """Return the design of units with these names; the strata are those of a crossover.

    Raises BadInput where the design cannot have so many units or periods.
    """
    if design is PriceTestDesign.SWITCHBACK:
        return Switchback(names, periods)
    if design is PriceTestDesign.ROLLOUT:
        return SteppedRollout(names, periods)
    return Crossover(names, strata, periods)


def assign_prices(
    design: PriceTestDesign,
    units: Sequence[PriceUnit],
    periods: Periods,
    cross: Mapping[ItemZone, float],
    seed: int,
) -> PriceTest:
    """Return the test of some units, their prices drawn by chance.

    `cross`: by item and zone, what the other items of its unit add to its slope.
    """
    strata = _find_strata(units)
    names = tuple(unit.name for unit in units)
    rng = generator(seed, "prices of a price test")
    drawn = build_design(design, names, strata, periods).draw_assignment(rng).tolist()
    assigned = tuple(
        AssignedUnit(
            name=unit.name,
            stratum=stratum,
            prices=unit.prices,
            has_test_price=tuple(of_unit),
            cross=tuple(cross.get(prices.key, 0.0) for prices in unit.prices),
        )
        for unit, stratum, of_unit in zip(units, strata, drawn, strict=True)
    )
    return PriceTest(periods, assigned, design)


def _find_strata(units: Sequence[PriceUnit]) -> tuple[str, ...]:
    """Return the category of each unit; units that are alone in theirs are compared with each
    other."""
    categories = [prefix(unit.category, CATEGORY_DEPTH) for unit in units]
    counts = Counter(categories)
    return tuple(name if counts[name] > 1 else "" for name in categories)


def _read_unit(row: Mapping[str, object]) -> AssignedUnit:
    # Older documents have only crossovers, whose test price is the higher one.
    prices, cross = row["prices"], row["cross"]
    has_test_price = row["has_test_price"] if "has_test_price" in row else row["is_higher"]
    assert isinstance(prices, list | tuple)  # noqa: S101 (a tuple where it was not stored yet)
    assert isinstance(has_test_price, list | tuple)  # noqa: S101
    assert isinstance(cross, list | tuple)  # noqa: S101
    return AssignedUnit(
        name=str(row["name"]),
        stratum=str(row["stratum"]),
        prices=tuple(ItemPrices(**(pair | {"ladder": tuple(pair["ladder"])})) for pair in prices),
        has_test_price=tuple(has_test_price),
        cross=tuple(cross),
    )
