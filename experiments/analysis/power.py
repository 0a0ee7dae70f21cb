"""How many units an experiment needs, and what it can detect with those that it has.

The same looks that analyse an experiment plan it: the probability of a decision is that of a score
crossing the bounds of its analysis (`crossing`). The expected score at the planned size is
effect / standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.optimize import brentq
from scipy.special import ndtri

from experiments.analysis.crossing import compute_crossing
from experiments.analysis.group_sequential import Spending, find_bounds
from experiments.analysis.sequential import compute_multiple
from features.contracts.errors import BadInput

AnalysisKind = Literal["fixed", "always_valid", "group_sequential"]
OutcomeKind = Literal["proportion", "count", "amount"]


@dataclass(frozen=True)
class Outcome:
    """What is known of a metric under the control.

    mean              mean or ratio
    variance          of a unit's influence on it (`estimates.estimate_metric` returns both)
    kind              how the variance follows a relative change c. proportion: that of p (1 - p).
                      count: as 1 + c, where more events happen (clicks per impression). amount: as
                      (1 + c)^2, where every value is scaled (money per unit)
    explained_share   of the variance by the pre-period (rho squared), removed by CUPED
    """

    mean: float
    variance: float
    kind: OutcomeKind = "amount"
    explained_share: float = 0.0

    def __post_init__(self) -> None:
        if self.mean <= 0 or self.variance <= 0:
            raise BadInput(
                f"mean {self.mean:g} and variance {self.variance:g} must be above 0",
                where="outcome to plan for",
            )
        if not 0 <= self.explained_share < 1:
            raise BadInput(
                f"{self.explained_share:g} is not in [0, 1)", where="share explained by the past"
            )
        if self.kind == "proportion" and self.mean >= 1:
            raise BadInput(f"a proportion is below 1, not {self.mean:g}", where="outcome")

    def compute_variance(self, change: float) -> float:
        """Return the variance that is left by CUPED after a relative change of the mean."""
        kept = 1 - self.explained_share
        if self.kind == "proportion":
            rate = min(self.mean * (1 + change), 1.0)
            return kept * rate * (1 - rate) * self.variance / (self.mean * (1 - self.mean))
        return kept * self.variance * (1 + change) ** (1 if self.kind == "count" else 2)


def describe_proportion(rate: float, explained_share: float = 0.0) -> Outcome:
    """Return the outcome of a share of units, such as conversion."""
    return Outcome(rate, rate * (1 - rate), "proportion", explained_share)


@dataclass(frozen=True)
class Design:
    """How an experiment splits and is analysed.

    weights    of the variants, the control first
    level      probability of a false verdict over all treatments together: each is tested at
               level / treatments (Bonferroni; Holm has at least that power)
    power      probability that a treatment with the minimum effect is called better
    n_looks    at equal shares of the units, for the sequential analyses
    """

    weights: tuple[float, ...] = (0.5, 0.5)
    analysis: AnalysisKind = "fixed"
    level: float = 0.05
    power: float = 0.8
    n_looks: int = 14
    spending: Spending = "obrien_fleming"

    def __post_init__(self) -> None:
        where = "design to plan for"
        if len(self.weights) < 2 or min(self.weights) <= 0:
            raise BadInput(f"weights are two or more above 0, not {self.weights}", where=where)
        if not 0 < self.level < self.power < 1:
            raise BadInput(
                f"level {self.level:g} and power {self.power:g} must be in (0, 1), "
                "the level below the power",
                where=where,
            )
        if self.n_looks < 1:
            raise BadInput(f"{self.n_looks} looks are no analysis", where=where)

    @property
    def comparison_level(self) -> float:
        """The level of each treatment against the control."""
        return self.level / (len(self.weights) - 1)

    def list_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the shares of the planned units at the looks, and the bounds of the score."""
        if self.analysis == "fixed":
            return (1.0,), (float(-ndtri(self.comparison_level / 2)),)
        shares = tuple((look + 1) / self.n_looks for look in range(self.n_looks))
        if self.analysis == "group_sequential":
            return shares, find_bounds(shares, self.comparison_level, self.spending)
        bounds = tuple(compute_multiple(share, self.comparison_level) for share in shares)
        return shares, bounds


@dataclass(frozen=True)
class PlannedSize:
    """Units by variant, in the order of the weights, and the expected share of them at the end.

    expected_share   of the planned units until the analysis decides, if the minimum effect is true
    """

    units: tuple[int, ...]
    expected_share: float

    @property
    def total(self) -> int:
        """Units of all variants."""
        return sum(self.units)

    def count_days(self, daily_units: float) -> int:
        """Return the days until all units have come, with so many new units a day.

        >>> PlannedSize((500, 501), 1.0).count_days(100)
        11
        """
        if daily_units <= 0:
            raise BadInput(f"{daily_units:g} units a day never suffice", where="daily traffic")
        return math.ceil(self.total / daily_units)


def plan_size(outcome: Outcome, design: Design, minimum_change: float) -> PlannedSize:
    """Return the units at which a treatment with that relative change is decided with the power.

    minimum_change   relative to the control, above or below 0. With unequal weights the smallest
                     treatment decides

    >>> plan_size(describe_proportion(0.05), Design(), 0.1).units
    (31231, 31231)
    """
    if minimum_change == 0 or minimum_change <= -1:
        raise BadInput(f"{minimum_change:g} is no effect to plan for", where="minimum effect")
    shares, bounds = design.list_bounds()
    drift = _find_drift(shares, bounds, design.power)
    spread = _compute_spread(outcome, design, minimum_change)
    total = drift**2 * spread / (outcome.mean * minimum_change) ** 2
    scale = sum(design.weights)
    units = tuple(math.ceil(total * weight / scale) for weight in design.weights)
    return PlannedSize(units, _compute_expected_share(shares, bounds, drift))


def compute_power(outcome: Outcome, design: Design, change: float, n_units: int) -> float:
    """Return the probability that a change is called in its direction with n units in all.

    A change of 0 has the direction of a gain.
    """
    error = math.sqrt(_compute_spread(outcome, design, change) / n_units)
    drift = outcome.mean * abs(change) / error
    shares, bounds = design.list_bounds()
    return float(compute_crossing(shares, bounds, drift).upper.sum())


def find_detectable_change(outcome: Outcome, design: Design, n_units: int) -> float | None:
    """Return the least relative gain that n units in all detect with the power of the design.

    None where even a gain of 1,000 %, or one to a rate of 1, is not detected.
    """
    drift = _find_drift(*design.list_bounds(), design.power)
    most = min(10.0, 1 / outcome.mean - 1) if outcome.kind == "proportion" else 10.0

    def find_excess(change: float) -> float:
        spread = _compute_spread(outcome, design, change)
        return outcome.mean * change - drift * math.sqrt(spread / n_units)

    if find_excess(most) < 0:
        return None
    return float(brentq(find_excess, 0.0, most, xtol=1e-9))


def _compute_spread(outcome: Outcome, design: Design, change: float) -> float:
    """Return the squared error of the difference times the units of all variants."""
    scale = sum(design.weights)
    control, *treatments = (weight / scale for weight in design.weights)
    return outcome.compute_variance(0.0) / control + outcome.compute_variance(change) / min(
        treatments
    )


@lru_cache(maxsize=256)
def _find_drift(shares: tuple[float, ...], bounds: tuple[float, ...], power: float) -> float:
    """Return the expected score at the planned size at which the bounds are crossed with power."""

    def find_excess(drift: float) -> float:
        return float(compute_crossing(shares, bounds, drift).upper.sum()) - power

    return float(brentq(find_excess, 0.0, max(bounds) + 10.0, xtol=1e-7))


def _compute_expected_share(
    shares: Sequence[float], bounds: Sequence[float], drift: float
) -> float:
    """Return the mean share of the information at which the analysis ends."""
    crossing = compute_crossing(shares, bounds, drift)
    ended = crossing.upper + crossing.lower
    still_open = 1 - float(ended.sum())
    return float(ended @ shares) + still_open * shares[-1]
