"""Which prices the evidence supports: those that gain with enough confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from features.contracts.arrays import BoolArray
from features.contracts.pricing import Objective
from models.pricing.optimise.item_choices import OPTIMISE, ItemChoices, restrict_to_current
from models.pricing.optimise.objective import (
    ItemColumns,
    ObjectiveColumns,
    compute_cross_values,
    evaluate_at_slopes,
)
from models.pricing.optimise.problem import Choices, flatten_ladders

UNCERTAIN = "the evidence does not say which other price would gain: test the price"


def drop_uncertain_prices(choices: Sequence[ItemChoices]) -> list[ItemChoices]:
    """Return the choices without the prices that gain with too little confidence.

    A price gains with confidence c where it is better than the current one even at the c quantile
    of the errors: units fall more than expected after a raise, and rise less after a cut; the
    family gains less after a raise, and loses more after a cut. Items that must change keep all
    their prices, and so do those whose stock is to be sold off.
    """
    rows = [row for row, of_item in enumerate(choices) if _is_tested(of_item)]
    result = list(choices)
    if not rows:
        return result
    tested = [choices[row] for row in rows]
    gains = _find_confident_gains(tested)
    start = 0
    for row, of_item in zip(rows, tested, strict=True):
        end = start + len(of_item.prices)
        kept = gains[start:end]
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
        rules.min_confidence > 0
        and rules.objective is not Objective.SELL_THROUGH
        and of_item.strategy == OPTIMISE
        and of_item.kept_reason is None
        and not of_item.must_change
    )


def _find_confident_gains(choices: Sequence[ItemChoices]) -> BoolArray:
    """Return whether each price of the ladders, one item after the other, gains for sure enough.

    The current price always stays.
    """
    columns = ItemColumns.from_items([of_item.item for of_item in choices])
    objectives = ObjectiveColumns.from_rules([of_item.rules for of_item in choices])
    starts, ladder = flatten_ladders([of_item.prices for of_item in choices])
    item = Choices(starts, ladder, np.zeros(len(ladder))).item
    prices = ladder.astype(np.float64)
    width = np.array([NormalDist().inv_cdf(of_item.rules.min_confidence) for of_item in choices])
    log_ratio = np.log(prices / columns.current[item])
    items = np.arange(len(choices))
    current = evaluate_at_slopes(columns, objectives, items, columns.current, columns.elasticity)
    expected = evaluate_at_slopes(columns, objectives, item, prices, columns.elasticity[item])
    slopes = columns.elasticity[item] - np.sign(log_ratio) * (width * columns.error)[item]
    at_slopes = evaluate_at_slopes(columns, objectives, item, prices, slopes)
    of_family = compute_cross_values(columns, objectives) * columns.cross_error * width
    # The two errors are independent of each other.
    shortfall = np.hypot(expected - at_slopes, of_family[item] * log_ratio)
    return np.asarray((log_ratio == 0) | (expected - shortfall > current[item]))
