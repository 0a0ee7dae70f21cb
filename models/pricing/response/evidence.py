"""How much is known of each series' price response: price changes, tried range, grade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.pricing import EvidenceGrade
from models.pricing.response.panel import PricePanel

_GRADES = tuple(EvidenceGrade)
_REAL_CHANGE = 0.01  # a list price that moves by less, in logs, has not changed
# And it stays for so many weeks before and after, longer than most reductions run: a usual price
# that is inferred from sales falls where reductions follow on each other.
_HELD_WEEKS = 4
# A grade needs: changes of the item's own regular price, and an error of its response at most.
_NEEDS = {EvidenceGrade.A: (6, 0.35), EvidenceGrade.B: (1, 0.6), EvidenceGrade.C: (0, 1.2)}


@dataclass(frozen=True)
class PriceEvidence:
    """(S,) each.

    n_regular_changes   moves of the regular price that stayed
    n_reductions        weeks with a reduced price
    lowest, highest     5 % and 95 % quantile of the prices, minor units
    """

    n_regular_changes: Int64Array
    n_reductions: Int64Array
    lowest: Float64Array
    highest: Float64Array


def measure_evidence(panel: PricePanel, min_change: float) -> PriceEvidence:
    """Count over the observed weeks; a reduction is deeper than `min_change` in logs.

    What a few buyers paid on average moves with who bought: only list prices that stay count.
    """
    price = np.where(panel.observed, panel.log_price, np.nan)
    ascending = np.sort(price, axis=1)  # NaN comes last
    counts = np.maximum(panel.observed.sum(1), 1)
    series = np.arange(len(counts))
    lowest = ascending[series, (0.05 * (counts - 1)).astype(np.int64)]
    highest = ascending[series, np.ceil(0.95 * (counts - 1)).astype(np.int64)]
    reductions = panel.observed & (panel.log_ratio < -min_change)
    return PriceEvidence(
        n_regular_changes=count_regular_changes(panel.log_list),
        n_reductions=reductions.sum(1).astype(np.int64),
        lowest=np.exp(lowest),
        highest=np.exp(highest),
    )


def count_regular_changes(log_list: Float64Array) -> Int64Array:
    """Return how often list prices (S, W), NaN where unknown, moved and stayed (S,).

    >>> stayed = [2.0] * 4 + [2.2] * 4 + [1.0] + [2.2] * 4
    >>> count_regular_changes(np.log([stayed])).tolist()
    [1]
    """
    before = _find_level(log_list, range(-_HELD_WEEKS, 0))
    after = _find_level(log_list, range(_HELD_WEEKS))
    return np.asarray((np.abs(after - before) > _REAL_CHANGE).sum(1), np.int64)


def _find_level(log_list: Float64Array, weeks: range) -> Float64Array:
    """Return the list price of some weeks around each week (S, W); NaN where it moved in them."""
    padded = np.pad(log_list, ((0, 0), (_HELD_WEEKS, _HELD_WEEKS)), constant_values=np.nan)
    n_weeks = log_list.shape[1]
    stacked = np.stack(
        [padded[:, _HELD_WEEKS + week : _HELD_WEEKS + week + n_weeks] for week in weeks]
    )
    held = stacked.max(0) - stacked.min(0) <= _REAL_CHANGE
    return np.where(held, stacked[0], np.nan)


def find_grade_needs(grade: EvidenceGrade) -> tuple[int, float]:
    """Return the changes of the regular price, and the largest error, that a grade needs.

    >>> find_grade_needs(EvidenceGrade.B)
    (1, 0.6)
    """
    return _NEEDS.get(grade, (0, np.inf))


def grade_evidence(
    elasticity: Float64Array, error: Float64Array, evidence: PriceEvidence
) -> Int64Array:
    """Return the index of each series' grade (S,) for decisions on its regular price.

    By the changes of its own regular price and the width of the interval of its response:
    reductions alone give at most C. A response whose 80 % interval reaches 0 is D.
    """
    grade = np.full(len(elasticity), _GRADES.index(EvidenceGrade.D), np.int64)
    for name in (EvidenceGrade.C, EvidenceGrade.B, EvidenceGrade.A):
        least_changes, largest_error = _NEEDS[name]
        enough = (evidence.n_regular_changes >= least_changes) & (error <= largest_error)
        grade[enough] = _GRADES.index(name)
    grade[elasticity + 1.2816 * error >= 0] = _GRADES.index(EvidenceGrade.D)
    return grade
