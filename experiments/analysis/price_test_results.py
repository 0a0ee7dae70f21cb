"""The result of a price test, from the weekly panel of its zone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.analysis.period_slopes import (
    PeriodTable,
    SlopeEstimate,
    WeeklySales,
    check_interference,
    estimate_own_slopes,
    estimate_slope,
    estimate_with_carry_over,
    measure_periods,
    run_randomisation_test,
    sum_periods,
)
from experiments.designs.price_test import PriceTest
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.seeds import generator
from models.pricing.implied_costs import CATEGORY_DEPTH
from models.pricing.response.panel import PricePanel

_LEAST_REDUCTION = 0.005  # in logarithms; a smaller one is rounding
NOISE = 0.1  # variance of weekly log units beyond the Poisson part
SEED = 1  # of the draws of the randomisation test


@dataclass(frozen=True)
class MeasuredItem:
    """What a test measured of one item: the slope on its own price alone, and its error."""

    item_id: str
    slope: float
    error: float


@dataclass(frozen=True)
class PriceTestResult:
    """Slopes are d ln units / d ln price of items whose unit moves with them, but for `items`.

    common         over all items
    p_value        of the randomisation test: no price has any effect
    by_period      slope of each period against the others
    carry_over     what of the slope comes a period later
    interference   slope of items outside of the test on the prices of tested ones in their family;
                   None where the test leaves no such item
    """

    items: tuple[MeasuredItem, ...]
    common: SlopeEstimate
    p_value: float
    by_period: tuple[SlopeEstimate, ...]
    carry_over: SlopeEstimate
    interference: SlopeEstimate | None


def analyse_price_test(
    panel: PricePanel, test: PriceTest, first_week: int, n_draws: int = 999
) -> PriceTestResult:
    """Return the result of a test that began in a week of the panel.

    All items of the tested categories are compared: those outside of the test measure what happens
    to their category.
    """
    panel = panel.select_series(_find_compared(panel, test))
    item_ids = panel.item_ids.tolist()
    log_price, unit = test.compute_log_prices(item_ids, test.assignment)
    weeks = slice(first_week, first_week + test.periods.n_weeks)
    sales = WeeklySales(panel.units[:, weeks], find_quiet_weeks(panel)[:, weeks])
    log_units, weight = sum_periods(sales, test.periods, NOISE)
    stratum = merge_lonely_strata(codes(panel.category, CATEGORY_DEPTH), unit)
    table = PeriodTable(log_units, log_price, weight, unit, stratum)
    slope, error = estimate_own_slopes(table)
    cross = test.cross
    items = tuple(
        MeasuredItem(item_id, float(slope[row]) - cross[item_id], float(error[row]))
        for row, item_id in enumerate(item_ids)
        if item_id in cross and np.isfinite(slope[row])
    )
    p_value = run_randomisation_test(
        table,
        test.design,
        lambda assignment: test.compute_log_prices(item_ids, assignment)[0],
        generator(SEED, "randomisation test"),
        n_draws,
    )
    neighbours = _average_neighbours(panel, log_price)
    return PriceTestResult(
        items=items,
        common=estimate_slope(table),
        p_value=p_value,
        by_period=tuple(measure_periods(table)),
        carry_over=estimate_with_carry_over(table)[1],
        interference=check_interference(table, neighbours) if neighbours.any() else None,
    )


def find_quiet_weeks(panel: PricePanel) -> BoolArray:
    """Return the weeks (S, W) with a price and without any promotion."""
    is_promoted = (panel.log_ratio < -_LEAST_REDUCTION) | (panel.announced > 0)
    if len(panel.reach):
        is_promoted = is_promoted | (panel.reach > 0).any(0)
    return np.asarray(np.isfinite(panel.log_price) & ~is_promoted)


def merge_lonely_strata(stratum: Int64Array, unit: Int64Array) -> Int64Array:
    """Return codes (N,) of strata in which a unit has others to be compared with.

    Strata of a single unit become one; where that is a single unit too, all are one.

    >>> merge_lonely_strata(np.array([0, 0, 1, 2]), np.array([0, 1, 2, 3])).tolist()
    [0, 0, 1, 1]
    >>> merge_lonely_strata(np.array([0, 0, 1]), np.array([0, 1, 2])).tolist()
    [0, 0, 0]
    """
    pairs = np.unique(np.stack([stratum, unit]), axis=1)
    is_lonely = np.bincount(pairs[0]) == 1
    if int(is_lonely.sum()) == 1:
        return np.zeros_like(stratum)
    merged = np.where(is_lonely[stratum], stratum.max() + 1, stratum)
    return np.asarray(np.unique(merged, return_inverse=True)[1], np.int64)


def _find_compared(panel: PricePanel, test: PriceTest) -> BoolArray:
    category = codes(panel.category, CATEGORY_DEPTH)
    in_zone = panel.zones == test.zone
    tested = in_zone & np.isin(panel.item_ids.astype(str), test.item_ids)
    return np.asarray(in_zone & np.isin(category, category[tested]))


def _average_neighbours(panel: PricePanel, log_price: Float64Array) -> Float64Array:
    """Return the mean log price (N, P) of the tested members of each untested item's family."""
    is_tested = (log_price != 0).any(1)
    neighbours = np.zeros_like(log_price)
    for family in set(panel.family.tolist()) - {""}:
        members = panel.family == family
        if (members & is_tested).any():
            neighbours[members & ~is_tested] = log_price[members & is_tested].mean(0)
    return neighbours
