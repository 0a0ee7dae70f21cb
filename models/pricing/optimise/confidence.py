"""Which prices the evidence supports: those that gain with enough confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.pricing import Objective
from models.pricing.optimise.item_choices import OPTIMISE, ItemChoices, restrict_to_current
from models.pricing.optimise.objective import (
    ItemColumns,
    ObjectiveColumns,
    compute_cross_values,
    evaluate_at_slopes,
    predict_units,
)
from models.pricing.optimise.problem import Choices, argmax_in_windows, flatten_ladders

UNCERTAIN = "the evidence does not say which other price would gain: test the price"


def drop_uncertain_prices(choices: Sequence[ItemChoices]) -> list[ItemChoices]:
    """Return the choices without the prices that gain with too little confidence.

    Every suggestion may turn out to lose. Of the items' best prices, the surest are taken until
    the expected share of those that lose would exceed `max_losing_share` (as false discovery rates
    are controlled; Storey, A direct approach to false discovery rates, JRSS B 2002): the confidence
    of the last one is what every price needs. Items that must change keep all their prices, and so
    do those whose stock is to be sold off.
    """
    rows = [row for row, of_item in enumerate(choices) if _is_tested(of_item)]
    result = list(choices)
    if not rows:
        return result
    tested = [choices[row] for row in rows]
    is_kept = _find_confident_prices(tested)
    start = 0
    for row, of_item in zip(rows, tested, strict=True):
        end = start + len(of_item.prices)
        kept = is_kept[start:end]
        start = end
        if kept.all():
            continue
        prices = [price for price, keep in zip(of_item.prices, kept.tolist(), strict=True) if keep]
        if prices == [of_item.item.current_price_minor] or not prices:
            result[row] = restrict_to_current(of_item, UNCERTAIN)
        else:
            result[row] = replace(of_item, prices=prices)
    return result


def _is_tested(of_item: ItemChoices) -> bool:
    rules = of_item.rules
    return (
        rules.max_losing_share < 1
        and rules.objective is not Objective.SELL_THROUGH
        and of_item.strategy == OPTIMISE
        and of_item.kept_reason is None
        and not of_item.must_change
    )


def _find_confident_prices(choices: Sequence[ItemChoices]) -> BoolArray:
    """Return which prices of the ladders, one item after the other, gain for sure enough.

    The current price always stays. Items under different rules are told apart by their
    `max_losing_share`.
    """
    columns = ItemColumns.from_items([of_item.item for of_item in choices])
    objectives = ObjectiveColumns.from_rules([of_item.rules for of_item in choices])
    starts, ladder = flatten_ladders([of_item.prices for of_item in choices])
    item = Choices(starts, ladder, np.zeros(len(ladder))).item
    gain, error = _estimate_gains(columns, objectives, item, ladder.astype(np.float64))
    is_current = ladder == columns.current[item]
    gain = np.where(is_current, 0.0, gain)
    confidence = ndtr(gain / np.maximum(error, 1e-9))
    best = argmax_in_windows(gain, starts[:-1], starts[1:])
    shares = np.array([of_item.rules.max_losing_share for of_item in choices])
    needed = np.ones(len(choices))
    for share in np.unique(shares):
        members = shares == share
        needed[members] = _find_needed_confidence(confidence[best[members]], float(share))
    # An item whose best price is too uncertain gets no smaller step either.
    passes = confidence[best] >= needed
    is_sure = passes[item] & (confidence >= needed[item])
    return np.asarray(is_current | ((gain > 0) & is_sure))


def _find_needed_confidence(confidence: Float64Array, max_losing_share: float) -> float:
    """Return the confidence of the last best price (n,) that may be taken, the surest first.

    Those of .99, .9 and .6 lose with .01, .1 and .4: .17 on average.

    >>> _find_needed_confidence(np.array([0.99, 0.6, 0.9, 0.5]), 0.2)
    0.6
    """
    surest_first = np.sort(confidence[confidence > 0.5])[::-1]
    losing = np.cumsum(1 - surest_first) / np.arange(1, len(surest_first) + 1)
    n_taken = int((losing <= max_losing_share).sum())
    return float(surest_first[n_taken - 1]) if n_taken else 1.0


def _estimate_gains(
    columns: ItemColumns, objectives: ObjectiveColumns, item: Int64Array, prices: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the expected gain of each price (m,) against the current one, and its standard error.

    From the error of the response and that of what the family gains, which have a part in common,
    and from that of an assumed cost, which counts for every unit more or less.
    """
    log_ratio = np.log(prices / columns.current[item])
    slopes = columns.elasticity
    items = np.arange(len(slopes))
    current = evaluate_at_slopes(columns, objectives, items, columns.current, slopes)[item]
    expected = evaluate_at_slopes(columns, objectives, item, prices, slopes[item])
    worse = slopes[item] - np.sign(log_ratio) * columns.error[item]
    at_worse = evaluate_at_slopes(columns, objectives, item, prices, worse)
    # By what the gain moves with one standard error of either.
    by_slope = np.sign(log_ratio) * (expected - at_worse)
    of_family = compute_cross_values(columns, objectives) * columns.cross_error
    by_family = of_family[item] * log_ratio
    common = 2 * columns.cross_correlation[item] * by_slope * by_family
    units = predict_units(columns, item, prices, slopes[item])
    moved = units - predict_units(columns, items, columns.current, slopes)[item]
    by_cost = objectives.profit[item] * moved * columns.cost_error[item]
    variance = by_slope**2 + by_family**2 + common + by_cost**2
    return expected - current, np.sqrt(np.maximum(variance, 0.0))
