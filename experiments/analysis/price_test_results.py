"""The result of a price test, from the weekly panel of its zones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace

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
from experiments.designs.tested_units import ItemZone
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.pricing import PriceTestDesign
from features.contracts.seeds import generator
from models.pricing.implied_costs import CATEGORY_DEPTH
from models.pricing.response.panel import PricePanel

_LEAST_REDUCTION = 0.005  # in logarithms; a smaller one is rounding
NOISE = 0.1  # variance of weekly log units beyond the Poisson part
SEED = 1  # of the draws of the randomisation test


@dataclass(frozen=True)
class MeasuredItem:
    """What a test measured of an item in a zone: the slope on its own price alone, and its
    error."""

    item_id: str
    zone: str
    slope: float
    error: float


@dataclass(frozen=True)
class PriceTestResult:
    """Slopes are d ln units / d ln price of items whose unit moves with them, but for `items`.

    items          of a crossover; the items of a zone or a category move all together, so that no
                   slope is one on an item's own price
    common         over all items
    all_weeks      the same with the weeks of the burn-in: nearer to 0 where customers follow slowly
    p_value        of the randomisation test: no price has any effect
    by_period      slope of each period against the others
    carry_over     what of the slope comes a period later; None where it cannot be measured, as in a
                   test of two periods
    interference   slope of items outside of the test on the prices of tested ones in their family;
                   None where the test leaves no such item
    n_weeks_left_out   weeks of tested items at another price than the planned one
    """

    items: tuple[MeasuredItem, ...]
    common: SlopeEstimate
    all_weeks: SlopeEstimate
    p_value: float
    by_period: tuple[SlopeEstimate, ...]
    carry_over: SlopeEstimate | None
    interference: SlopeEstimate | None
    n_weeks_left_out: int

    def to_document(self) -> dict[str, object]:
        """Return the result as JSON values: null for an estimate or an error without a value."""
        return _drop_infinite(asdict(self))


def analyse_price_test(
    panel: PricePanel,
    test: PriceTest,
    first_week: int,
    *,
    refused: Collection[str] = (),
    n_draws: int = 999,
) -> PriceTestResult:
    """Return the result of a test that began in a week of the panel.

    A week of an item counts only at the planned price, and after a burn-in at it. Items that were
    `refused` a price do not count, in any zone.

    All items of the tested categories are compared: those outside of the test measure what happens
    to their category.
    """
    panel = panel.select_series(_find_compared(panel, test))
    keys = list(zip(panel.item_ids.tolist(), panel.zones.tolist(), strict=True))
    weeks = slice(first_week, first_week + test.periods.n_weeks)
    differs = _find_deviations(panel.log_price[:, weeks], keys, test)
    tested = set(test.find_prices_before())
    is_tested = np.array([key in tested for key in keys], bool)
    is_planned = is_tested[:, None] & ~differs
    is_quiet = find_quiet_weeks(panel)[:, weeks]
    is_quiet |= is_planned & _find_guessed_reductions(panel)[:, weeks]
    deviates = is_quiet & differs
    deviates |= np.isin(panel.item_ids.astype(str), list(refused))[:, None]
    is_left_out = spread_deviations(deviates, test.periods.burn_in_weeks)
    sales = WeeklySales(panel.units[:, weeks], is_quiet & ~is_left_out)
    table = _build_table(panel, keys, test, sales)
    p_value = run_randomisation_test(
        table,
        test.build_design(),
        lambda assignment: test.compute_log_prices(keys, assignment)[0],
        generator(SEED, "randomisation test"),
        n_draws,
    )
    is_followed = np.asarray(~deviates.any(1), bool)
    neighbours, expected_neighbours = (
        _average_neighbours(panel, prices, is_tested, is_followed)
        for prices in (table.log_price, table.expected_price)
    )
    with_carry_over = estimate_with_carry_over(table)
    return PriceTestResult(
        items=_measure_items(table, keys, test),
        common=estimate_slope(table),
        all_weeks=_compare_all_weeks(table, replace(sales, is_usable=is_quiet & ~deviates), test),
        p_value=p_value,
        by_period=tuple(measure_periods(table)),
        carry_over=None if with_carry_over is None else with_carry_over[1],
        interference=check_interference(table, neighbours, expected_neighbours)
        if neighbours.any()
        else None,
        n_weeks_left_out=int((is_quiet & is_left_out & test.periods.is_analysed).sum()),
    )


def _build_table(
    panel: PricePanel, keys: list[ItemZone], test: PriceTest, sales: WeeklySales
) -> PeriodTable:
    """Return the sales by period, with the log prices that were drawn and those to be expected."""
    log_units, weight = sum_periods(sales, test.periods, NOISE)
    log_price, unit = test.compute_log_prices(keys, test.assignment)
    expected, _ = test.compute_log_prices(keys, test.build_design().expected_assignment)
    return PeriodTable(
        log_units=log_units,
        log_price=log_price,
        expected_price=expected,
        weight=weight,
        unit=unit,
        stratum=_find_strata(panel, test, unit),
        is_drawn_by_period=test.design is PriceTestDesign.SWITCHBACK,
    )


def find_quiet_weeks(panel: PricePanel) -> BoolArray:
    """Return the weeks (S, W) with a price and without any promotion."""
    is_promoted = (panel.log_ratio < -_LEAST_REDUCTION) | (panel.announced > 0)
    if len(panel.reach):
        is_promoted = is_promoted | (panel.reach > 0).any(0)
    return np.asarray(np.isfinite(panel.log_price) & ~is_promoted)


def _find_guessed_reductions(panel: PricePanel) -> BoolArray:
    """Return the weeks (S, W) without a promotion of series whose list price is only guessed: a
    price that differs from that of the weeks around looks like a reduction."""
    is_known = np.isfinite(panel.log_price)
    if panel.guessed_list is None:
        return np.zeros_like(is_known)
    is_promoted = (panel.reach > 0).any(0) if len(panel.reach) else np.zeros_like(is_known)
    return np.asarray(panel.guessed_list[:, None] & is_known & ~is_promoted)


def spread_deviations(deviates: BoolArray, burn_in_weeks: int) -> BoolArray:
    """Return the weeks (N, W) at another price than planned, and the burn-in after them.

    >>> spread_deviations(np.array([[False, True, False, False]]), 1).tolist()
    [[False, True, True, False]]
    """
    spread = deviates.copy()
    for lag in range(1, burn_in_weeks + 1):
        spread[:, lag:] |= deviates[:, :-lag]
    return spread


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


def _find_strata(panel: PricePanel, test: PriceTest, unit: Int64Array) -> Int64Array:
    """Return codes (N,) of what is compared within each period: categories, over all zones of a
    switchback; in a roll-out the categories with each other."""
    if test.design is PriceTestDesign.ROLLOUT:
        return np.zeros(len(unit), np.int64)
    return merge_lonely_strata(codes(panel.category, CATEGORY_DEPTH), unit)


def _compare_all_weeks(table: PeriodTable, sales: WeeklySales, test: PriceTest) -> SlopeEstimate:
    """Return the slope with the weeks of the burn-in."""
    log_units, weight = sum_periods(sales, replace(test.periods, burn_in_weeks=0), NOISE)
    return estimate_slope(replace(table, log_units=log_units, weight=weight))


def _measure_items(
    table: PeriodTable, keys: list[ItemZone], test: PriceTest
) -> tuple[MeasuredItem, ...]:
    """Return each item's slope at its own price alone; none where much more moves with it."""
    if test.design is not PriceTestDesign.CROSSOVER:
        return ()
    slope, error = estimate_own_slopes(table)
    cross = test.cross
    rows = [row for row, key in enumerate(keys) if key in cross and np.isfinite(slope[row])]
    return tuple(
        MeasuredItem(*keys[row], float(slope[row]) - cross[keys[row]], float(error[row]))
        for row in rows
    )


def _find_deviations(log_price: Float64Array, keys: list[ItemZone], test: PriceTest) -> BoolArray:
    """Return the weeks (N, W) of tested items at another price than the planned one."""
    deviates = np.zeros(log_price.shape, bool)
    row_of = {key: row for row, key in enumerate(keys)}
    by_period = [test.find_prices(period) for period in range(test.periods.n_periods)]
    for week, period in enumerate(test.periods.period_of_week.tolist()):
        for key, price_minor in by_period[period].items():
            row = row_of.get(key)
            if row is not None:
                distance = abs(log_price[row, week] - np.log(price_minor))
                deviates[row, week] = distance > _LEAST_REDUCTION
    return deviates


def _find_compared(panel: PricePanel, test: PriceTest) -> BoolArray:
    category = codes(panel.category, CATEGORY_DEPTH)
    in_zone = np.isin(panel.zones.astype(str), test.zones)
    tested = in_zone & np.isin(panel.item_ids.astype(str), test.item_ids)
    return np.asarray(in_zone & np.isin(category, category[tested]))


def _average_neighbours(
    panel: PricePanel, log_price: Float64Array, is_tested: BoolArray, is_followed: BoolArray
) -> Float64Array:
    """Return the mean log price (N, P) of the tested members of each untested item's family in its
    zone.

    Without a family of which a member had other prices than the planned ones.
    """
    neighbours = np.zeros_like(log_price)
    for family, zone in set(zip(panel.family.tolist(), panel.zones.tolist(), strict=True)):
        members = (panel.family == family) & (panel.zones == zone) & (family != "")
        if (members & is_tested).any() and is_followed[members & is_tested].all():
            neighbours[members & ~is_tested] = log_price[members & is_tested].mean(0)
    return neighbours


def _drop_infinite(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _replace_infinite(value) for name, value in values.items()}


def _replace_infinite(value: object) -> object:
    """Return a JSON value, null for a number that JSON does not know."""
    if isinstance(value, dict):
        return _drop_infinite(value)
    if isinstance(value, (list, tuple)):
        return [_replace_infinite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
