"""Designs of price tests: which unit has which of two prices in which period.

A unit is a family of items, a single item, a zone or a category. Everybody pays the same price at
the same time: no design knows a person. Assignments depend on the seed only.

U units, P periods. An assignment (U, P) is true where a unit has its test price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.errors import BadInput


class PriceDesign(Protocol):
    """What every design of a price test can do."""

    @property
    def units(self) -> tuple[str, ...]:
        """U names."""
        ...

    @property
    def periods(self) -> Periods:
        """The periods of the test."""
        ...

    def draw_assignment(self, rng: np.random.Generator) -> BoolArray:
        """Return one assignment (U, P) of those that the design may draw, all equally likely."""
        ...

    @property
    def expected_assignment(self) -> Float64Array:
        """(U, P) share of all assignments in which a unit has its test price."""
        ...


@dataclass(frozen=True)
class Periods:
    """Periods of equal length, the first `burn_in_weeks` of which are left out of the analysis.

    After a change of price customers still compare with the price before, and have stocked up: a
    burn-in lets that pass.
    """

    n_periods: int
    period_weeks: int
    burn_in_weeks: int = 1

    def __post_init__(self) -> None:
        if self.n_periods < 2:
            raise BadInput(
                f"a price test needs 2 periods or more, not {self.n_periods}", where="n_periods"
            )
        if not 0 <= self.burn_in_weeks < self.period_weeks:
            raise BadInput(
                f"a burn-in of {self.burn_in_weeks} weeks leaves nothing of periods of "
                f"{self.period_weeks} weeks",
                where="burn_in_weeks",
                hint="Take longer periods, or a shorter burn-in",
            )

    @property
    def n_weeks(self) -> int:
        """Length of the test."""
        return self.n_periods * self.period_weeks

    @property
    def n_analysed_weeks(self) -> int:
        """Weeks of a unit that the analysis uses."""
        return self.n_periods * (self.period_weeks - self.burn_in_weeks)

    @property
    def period_of_week(self) -> Int64Array:
        """(W,) period of each week."""
        return np.repeat(np.arange(self.n_periods), self.period_weeks)

    @property
    def is_analysed(self) -> BoolArray:
        """(W,) whether a week lies after the burn-in of its period."""
        return np.tile(np.arange(self.period_weeks) >= self.burn_in_weeks, self.n_periods)


@dataclass(frozen=True)
class Crossover:
    """Each unit changes between its two prices from period to period; chance draws the first.

    Half of the units of a stratum (a category) begin at the test price, so that what happens to the
    category in a period falls on both prices.

    >>> design = Crossover(("a", "b"), ("dairy", "dairy"), Periods(2, 4))
    >>> rows = design.draw_assignment(np.random.default_rng(1)).tolist()
    >>> sorted(rows)
    [[False, True], [True, False]]
    """

    units: tuple[str, ...]
    strata: tuple[str, ...]
    periods: Periods

    def __post_init__(self) -> None:
        _check_units(self.units, 2)
        if len(self.strata) != len(self.units):
            raise BadInput("give every unit a stratum", where="strata")
        if self.periods.n_periods % 2:
            raise BadInput(
                "a crossover needs an even number of periods: as many at each price",
                where="n_periods",
            )

    def draw_assignment(self, rng: np.random.Generator) -> BoolArray:
        begins_at_test = np.zeros(len(self.units), bool)
        strata = np.array(self.strata)
        for stratum in sorted(set(self.strata)):
            members = rng.permutation(np.flatnonzero(strata == stratum))
            # Of an odd number chance gives the last one either price.
            n_test = (len(members) + int(rng.integers(2))) // 2
            begins_at_test[members[:n_test]] = True
        is_odd = np.arange(self.periods.n_periods) % 2 == 1
        return np.asarray(begins_at_test[:, None] ^ is_odd)

    @property
    def expected_assignment(self) -> Float64Array:
        return np.full((len(self.units), self.periods.n_periods), 0.5)


@dataclass(frozen=True)
class Switchback:
    """Each unit, as a rule a zone, has either price in half of its periods, in random order.

    A unit may keep a price for several periods. Units are dealt into pairs by chance; the second of
    a pair has the opposite price, so that what happens to all zones in a period falls on both
    prices. Of an odd number one has an order of its own.

    >>> design = Switchback(("north", "south"), Periods(4, 3))
    >>> design.draw_assignment(np.random.default_rng(1)).sum(0).tolist()
    [1, 1, 1, 1]
    """

    units: tuple[str, ...]
    periods: Periods

    def __post_init__(self) -> None:
        _check_units(self.units, 1)
        if self.periods.n_periods % 2 or self.periods.n_periods < 4:
            raise BadInput(
                "a switchback needs an even number of periods, 4 or more", where="n_periods"
            )

    def draw_assignment(self, rng: np.random.Generator) -> BoolArray:
        half = np.arange(self.periods.n_periods) % 2 == 0
        assignment = np.zeros((len(self.units), self.periods.n_periods), bool)
        order = rng.permutation(len(self.units))
        for first in range(0, len(order), 2):
            drawn = rng.permutation(half)
            assignment[order[first]] = drawn
            assignment[order[first + 1 : first + 2]] = ~drawn
        return assignment

    @property
    def expected_assignment(self) -> Float64Array:
        return np.full((len(self.units), self.periods.n_periods), 0.5)


@dataclass(frozen=True)
class SteppedRollout:
    """Units change to the test price one after the other, in random order, and keep it.

    In the first period nobody has it, in the last everybody; chance decides in those between.
    Units are dealt to the steps as evenly as possible (Hussey and Hughes, Design and analysis of
    stepped wedge cluster randomized trials, 2007).

    >>> design = SteppedRollout(("a", "b", "c", "d"), Periods(3, 3))
    >>> design.expected_assignment[0].tolist()
    [0.0, 0.5, 1.0]
    """

    units: tuple[str, ...]
    periods: Periods

    def __post_init__(self) -> None:
        _check_units(self.units, 2)
        if self.periods.n_periods < 3:
            raise BadInput(
                "a stepped roll-out needs 3 periods or more: in one of two nobody has the new "
                "prices, in the other everybody",
                where="n_periods",
            )
        if self.periods.n_periods - 1 > len(self.units):
            raise BadInput(
                f"{self.periods.n_periods - 1} steps need as many units, not {len(self.units)}",
                where="n_periods",
            )

    def draw_assignment(self, rng: np.random.Generator) -> BoolArray:
        n_steps = self.periods.n_periods - 1
        first_period = 1 + rng.permutation(len(self.units)) % n_steps
        return np.asarray(np.arange(self.periods.n_periods) >= first_period[:, None])

    @property
    def expected_assignment(self) -> Float64Array:
        n_units, n_steps = len(self.units), self.periods.n_periods - 1
        of_step = np.bincount(np.arange(n_units) % n_steps, minlength=n_steps) / n_units
        shares = np.concatenate([[0.0], np.cumsum(of_step)])
        return np.tile(shares, (n_units, 1))


def _check_units(units: tuple[str, ...], least: int) -> None:
    if len(units) < least:
        raise BadInput(f"a test needs {least} units or more, not {len(units)}", where="units")
    if len(set(units)) < len(units):
        raise BadInput("a unit is named twice", where="units")
