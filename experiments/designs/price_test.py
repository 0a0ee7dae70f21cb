"""A price test as it is filed: its units, and the price of every item in every period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from experiments.designs.portfolio import Portfolio
from experiments.designs.price_designs import Crossover, Periods
from experiments.designs.tested_units import ItemPrices
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import prefix
from features.contracts.seeds import generator
from models.pricing.implied_costs import CATEGORY_DEPTH


@dataclass(frozen=True)
class AssignedUnit:
    """A family, or an item without one, with the price that chance gave it in each period.

    is_higher   by period: whether its items have their higher price
    cross       by item: what the other items of the unit add to its slope, since they move with it
    """

    name: str
    stratum: str
    prices: tuple[ItemPrices, ...]
    is_higher: tuple[bool, ...]
    cross: tuple[float, ...]


@dataclass(frozen=True)
class PriceTest:
    """A crossover of families of one zone."""

    zone: str
    periods: Periods
    units: tuple[AssignedUnit, ...]

    @property
    def design(self) -> Crossover:
        """The design, whose assignments a randomisation test draws anew."""
        names = tuple(unit.name for unit in self.units)
        return Crossover(names, tuple(unit.stratum for unit in self.units), self.periods)

    @property
    def item_ids(self) -> list[str]:
        """The items under test, unit by unit."""
        return [prices.item_id for unit in self.units for prices in unit.prices]

    @property
    def cross(self) -> dict[str, float]:
        """By item: what the other items of its unit add to its slope."""
        return {
            prices.item_id: cross
            for unit in self.units
            for prices, cross in zip(unit.prices, unit.cross, strict=True)
        }

    def find_prices(self, period: int) -> dict[str, int]:
        """Return the price of each item in a period, minor units; before the test after the end."""
        if period >= self.periods.n_periods:
            return {p.item_id: p.current_minor for unit in self.units for p in unit.prices}
        return {
            prices.item_id: prices.higher_minor if unit.is_higher[period] else prices.lower_minor
            for unit in self.units
            for prices in unit.prices
        }

    @property
    def assignment(self) -> BoolArray:
        """(U, P) whether a unit has its higher price."""
        return np.array([unit.is_higher for unit in self.units], bool)

    def compute_log_prices(
        self, item_ids: Sequence[str], assignment: BoolArray
    ) -> tuple[Float64Array, Int64Array]:
        """Return log prices (N, P) against those before the test, and units (N,).

        Items that are not tested have 0, and are each a unit of their own.
        """
        row_of = {item_id: row for row, item_id in enumerate(item_ids)}
        log_price = np.zeros((len(item_ids), self.periods.n_periods))
        unit_of = np.arange(len(item_ids)) + len(self.units)
        for number, unit in enumerate(self.units):
            for prices in unit.prices:
                row = row_of.get(prices.item_id)
                if row is not None:
                    lower, higher = prices.log_ratios
                    log_price[row] = np.where(assignment[number], higher, lower)
                    unit_of[row] = number
        return log_price, unit_of

    def to_document(self) -> dict[str, object]:
        """Return the test as JSON values."""
        return {
            "zone": self.zone,
            "periods": asdict(self.periods),
            "units": [asdict(unit) for unit in self.units],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> PriceTest:
        """Return the test that `to_document` wrote."""
        units = document["units"]
        periods = document["periods"]
        assert isinstance(units, list) and isinstance(periods, dict)  # noqa: S101
        return cls(str(document["zone"]), Periods(**periods), tuple(map(_read_unit, units)))


def assign_prices(
    zone: str, portfolio: Portfolio, cross: Mapping[str, float], seed: int
) -> PriceTest:
    """Return the test of a portfolio, its prices drawn by chance.

    `cross`: by item, what the other items of its unit add to its slope.
    """
    units = [test.unit for test in portfolio.tests]
    categories = [prefix(unit.category, CATEGORY_DEPTH) for unit in units]
    counts = Counter(categories)
    # Units that are alone in their category are compared with each other.
    strata = tuple(name if counts[name] > 1 else "" for name in categories)
    design = Crossover(tuple(unit.name for unit in units), strata, portfolio.periods)
    is_higher = design.draw_assignment(generator(seed, "prices of a price test")).tolist()
    assigned = tuple(
        AssignedUnit(
            name=unit.name,
            stratum=stratum,
            prices=unit.prices,
            is_higher=tuple(of_unit),
            cross=tuple(cross.get(prices.item_id, 0.0) for prices in unit.prices),
        )
        for unit, stratum, of_unit in zip(units, strata, is_higher, strict=True)
    )
    return PriceTest(zone, portfolio.periods, assigned)


def _read_unit(row: Mapping[str, object]) -> AssignedUnit:
    prices, is_higher, cross = row["prices"], row["is_higher"], row["cross"]
    assert isinstance(prices, list | tuple)  # noqa: S101 (a tuple where it was not stored yet)
    assert isinstance(is_higher, list | tuple)  # noqa: S101
    assert isinstance(cross, list | tuple)  # noqa: S101
    return AssignedUnit(
        name=str(row["name"]),
        stratum=str(row["stratum"]),
        prices=tuple(ItemPrices(**(pair | {"ladder": tuple(pair["ladder"])})) for pair in prices),
        is_higher=tuple(is_higher),
        cross=tuple(cross),
    )
