"""Comparisons at planned looks: the error is spent over the looks (Lan and DeMets 1983)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from experiments.analysis.crossing import START
from experiments.analysis.moments import Moments
from experiments.analysis.sequential import compute_standard_error
from experiments.analysis.statistics import Difference
from features.contracts.errors import BadInput

Spending = Literal["obrien_fleming", "pocock"]
Decision = Literal["better", "worse", "continue", "no difference"]

LEVEL = 0.05
MAX_BOUND = 8.0
"""Bound of a look with next to no error to spend: two-sided p below 2e-15."""
_LEAST_SPENT = 1e-14


def spend_level(share: float, level: float = LEVEL, spending: Spending = "obrien_fleming") -> float:
    """Return the error spent until a share of the information, both sides together.

    obrien_fleming   little early: twice 2 - 2 Phi(z / sqrt(t)) with z of level / 4
    pocock           nearly even: level log(1 + (e - 1) t)

    >>> round(spend_level(1.0), 6), round(spend_level(1.0, spending="pocock"), 6)
    (0.05, 0.05)
    """
    share = min(share, 1.0)
    if spending == "pocock":
        return level * math.log1p((math.e - 1) * share)
    return float(4 * ndtr(ndtri(level / 4) / math.sqrt(share)))


def find_bounds(
    shares: Sequence[float],
    level: float = LEVEL,
    spending: Spending = "obrien_fleming",
    *,
    is_last: bool = False,
) -> tuple[float, ...]:
    """Return the bound of the absolute score at each look.

    shares    of the planned information at the looks until now, rising; the last one may be above 1
    is_last   no look follows the last one: it spends the rest of the level whatever its share

    The bounds of past looks do not depend on later ones, so the number and the times of the looks
    need no plan, only the information at the end.

    >>> [round(bound, 2) for bound in find_bounds([0.2, 0.4, 0.6, 0.8, 1.0])]
    [4.88, 3.36, 2.68, 2.29, 2.03]
    """
    is_rising = all(before < min(after, 1.0) for before, after in pairwise(shares))
    if not shares or shares[0] <= 0 or not is_rising:
        raise BadInput(
            f"information shares rise from above 0, only the last to 1 or more, not {list(shares)}",
            where="group-sequential looks",
            hint="Leave out looks without new units, and looks after the planned size",
        )
    return _find_bounds(tuple(shares), level, spending, is_last)


@lru_cache(maxsize=1024)
def _find_bounds(
    shares: tuple[float, ...], level: float, spending: Spending, is_last: bool
) -> tuple[float, ...]:
    paths, spent, bounds = START, 0.0, []
    for look, share in enumerate(shares):
        ends = is_last and look == len(shares) - 1
        total = level if ends else spend_level(share, level, spending)
        to_spend = (total - spent) / 2  # of each side
        if to_spend < _LEAST_SPENT:
            bound = MAX_BOUND
        else:
            start = paths

            def find_excess(bound: float, share: float = share, due: float = to_spend) -> float:
                return start.exceed(share, bound) - due  # noqa: B023

            bound = float(brentq(find_excess, 0.0, MAX_BOUND + 1.0, xtol=1e-10))
            spent = total
        bounds.append(bound)
        paths = paths.advance(share, bound)
    return tuple(bounds)


@dataclass(frozen=True)
class Look:
    """The comparison at one planned look.

    difference   with the repeated confidence interval: those of all looks hold together with the
                 probability 1 - level (Jennison and Turnbull 1989); its p-value is the least level
                 whose bound this look crosses, not below 1e-9
    bound        of the absolute score at this look
    decision     better or worse: the bound is crossed. continue: not yet.
                 no difference: not crossed at the last look, or at the planned size
    """

    difference: Difference
    bound: float
    decision: Decision


def compare_at_look(
    treatment: Moments,
    control: Moments,
    *,
    shares: Sequence[float],
    level: float = LEVEL,
    spending: Spending = "obrien_fleming",
    is_last: bool = False,
) -> Look | None:
    """Return treatment minus control at the last of the looks; None without a spread.

    shares    information at the looks until now, this one included (units / planned units)
    is_last   nothing follows this look, though it may be below the planned size
    """
    error = compute_standard_error(treatment, control)
    if error is None or treatment.mean is None or control.mean is None:
        return None
    value = treatment.mean - control.mean

    def find_bound(some_level: float) -> float:
        return find_bounds(shares, some_level, spending, is_last=is_last)[-1]

    bound = find_bound(level)
    p_value = _find_level(abs(value) / error, find_bound)
    difference = Difference(value, value - bound * error, value + bound * error, p_value)
    return Look(difference, bound, _decide(value / error, bound, is_last or shares[-1] >= 1))


def _decide(score: float, bound: float, is_last: bool) -> Decision:
    if abs(score) >= bound:
        return "better" if score > 0 else "worse"
    return "no difference" if is_last else "continue"


def _find_level(score: float, find_bound: Callable[[float], float]) -> float:
    """Return the least level at which the bound of the last look is not above the score."""

    def find_excess(level: float) -> float:
        return find_bound(level) - score

    least, most = 1e-9, 0.999
    if find_excess(least) <= 0:
        return least
    if find_excess(most) >= 0:
        return 1.0
    return float(brentq(find_excess, least, most, xtol=1e-6))
