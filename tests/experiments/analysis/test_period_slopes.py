"""Analysis of price tests: known slopes come back with honest errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
from experiments.designs.price_designs import Crossover, Periods
from tests.benchmarks.experiments.switchback import (
    BURN_IN,
    draw_switchback,
    estimate_lasting_slope,
    measure,
)

DEPTH = 0.2  # log distance of the two prices


def draw_crossover(
    slope: float | np.ndarray, rng: np.random.Generator, *, n: int = 16, noise: float = 0.1
) -> tuple[PeriodTable, Crossover]:
    """Return a crossover of n items in two categories, each with movements of its own."""
    design = Crossover(
        tuple(map(str, range(n))), tuple(str(k % 2) for k in range(n)), Periods(4, 3)
    )
    assignment = design.draw_assignment(rng)
    price = np.where(assignment, DEPTH / 2, -DEPTH / 2)
    stratum = np.arange(n) % 2
    level = rng.normal(size=(n, 1))
    movement = rng.normal(size=(2, 4))[stratum]
    log_units = level + movement + np.reshape(slope, (-1, 1)) * price
    log_units = log_units + noise * rng.normal(size=price.shape)
    weight = np.full(price.shape, 1 / noise**2)
    return build_table(log_units, price, weight, np.arange(n), stratum), design


def build_table(
    log_units: np.ndarray,
    log_price: np.ndarray,
    weight: np.ndarray,
    unit: np.ndarray,
    stratum: np.ndarray,
) -> PeriodTable:
    """Return the table of a crossover: either price is as likely in every period."""
    nothing = np.zeros_like(log_price)
    return PeriodTable(log_units, log_price, nothing, weight, unit, stratum)


def price_by_assignment(assignment: np.ndarray) -> np.ndarray:
    return np.where(assignment, DEPTH / 2, -DEPTH / 2)


def test_without_noise_the_slope_is_exact_whatever_levels_and_movements():
    table, _ = draw_crossover(-2.0, np.random.default_rng(1), noise=1e-9)
    assert estimate_slope(table).slope == pytest.approx(-2.0, abs=1e-6)
    assert measure_periods(table)[2].slope == pytest.approx(-2.0, abs=1e-6)
    own, _ = estimate_own_slopes(table)
    assert own == pytest.approx(np.full(16, -2.0), abs=1e-6)


def test_intervals_clustered_by_unit_cover_the_slope():
    rng = np.random.default_rng(2)
    hits, own_hits = [], []
    for _ in range(400):
        table, _ = draw_crossover(-2.0, rng)
        estimate = estimate_slope(table)
        hits.append(abs(estimate.slope + 2.0) <= estimate.margin)
        own, error = estimate_own_slopes(table)
        own_hits.append(np.abs(own + 2.0) <= 1.96 * error)
    # Standard error of a share of 400: .011.
    assert 0.89 <= np.mean(hits) <= 0.98
    assert 0.93 <= np.mean(own_hits) <= 0.99


def test_the_randomisation_test_keeps_its_level_without_an_effect():
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(200):
        table, design = draw_crossover(0.0, rng, n=8)
        p_values.append(run_randomisation_test(table, design, price_by_assignment, rng, 39))
    # 40 possible values: 5 % lie at .05 or below. Standard error .015; three of them.
    assert np.mean(np.array(p_values) <= 0.05) <= 0.095


def test_the_randomisation_test_finds_an_effect():
    table, design = draw_crossover(-2.0, np.random.default_rng(4))
    p_value = run_randomisation_test(
        table, design, price_by_assignment, np.random.default_rng(5), 199
    )
    assert p_value == pytest.approx(1 / 200)


def test_weeks_with_a_promotion_and_the_burn_in_do_not_count():
    units = np.array([[9.0, 2.0, 4.0, 50.0, 7.0, 900.0]])
    usable = np.array([[True, True, True, True, True, False]])
    log_units, weight = sum_periods(WeeklySales(units, usable), Periods(2, 3), noise=0.1)
    # Weeks 2 and 3 of the first period: 2 + 4 units, and week 2 of the second: 7.
    assert log_units[0] == pytest.approx(np.log([6.5 / 2, 7.5]))
    assert weight[0] == pytest.approx([1 / (1 / 6.5 + 0.1 / 2), 1 / (1 / 7.5 + 0.1)])


def test_a_switchback_with_burn_in_recovers_what_a_naive_comparison_misses():
    naive = measure(estimate_slope, 0, 60)
    with_burn_in = measure(estimate_slope, BURN_IN, 60)
    with_carry_over = measure(estimate_lasting_slope, 0, 60)
    # A price that stays has -1.5 - .9 = -2.4. In the first three of five weeks 3/3, 2/3 and 1/3 of
    # the slow part still follow the price before: the naive slope misses about .9 × 2 / 5 of it,
    # less where the price stayed.
    assert with_burn_in.slope == pytest.approx(-2.4, abs=0.03)
    assert with_carry_over.slope == pytest.approx(-2.4, abs=0.06)
    assert naive.slope > -2.15


def require_estimates(table: PeriodTable) -> tuple[SlopeEstimate, SlopeEstimate]:
    estimates = estimate_with_carry_over(table)
    assert estimates is not None
    return estimates


def test_with_two_periods_carry_over_is_not_measurable():
    table, _ = draw_crossover(-2.0, np.random.default_rng(9))
    two = build_table(
        table.log_units[:, :2],
        table.log_price[:, :2],
        table.weight[:, :2],
        table.unit,
        table.stratum,
    )
    assert estimate_with_carry_over(two) is None
    # Of four periods two without a sale leave as little.
    weight = table.weight * [1, 1, 0, 0]
    assert estimate_with_carry_over(replace(table, weight=weight)) is None


def test_carry_over_of_a_crossover_counts_units_that_moved_and_no_others():
    table, _ = draw_crossover(-2.0, np.random.default_rng(10), noise=1e-9)
    is_tested = np.arange(16)[:, None] < 12
    units = np.where(is_tested, table.log_units, table.log_units + 2.0 * table.log_price)
    price = np.where(is_tested, table.log_price, 0.0)
    lasting, later = require_estimates(replace(table, log_units=units, log_price=price))
    assert (lasting.n_units, later.n_units) == (12, 12)
    assert lasting.slope == pytest.approx(-2.0, abs=1e-6)
    assert later.slope == pytest.approx(0.0, abs=1e-6)


def test_carry_over_is_seen_and_its_absence_too():
    _, later = require_estimates(draw_switchback(np.random.default_rng(7), 0))
    assert later.slope < -3 * later.error
    _, none = require_estimates(draw_switchback(np.random.default_rng(7), BURN_IN))
    assert abs(none.slope) < 3 * none.error


@pytest.mark.parametrize("cross", [0.0, 0.6])
def test_interference_with_untested_members_of_a_family_is_measured(cross):
    rng = np.random.default_rng(8)
    table, _ = draw_crossover(-2.0, rng, noise=0.01)
    of_neighbours = table.log_price.copy()
    untested = np.arange(len(of_neighbours)) >= 8
    of_neighbours[~untested] = 0.0
    log_price = np.where(untested[:, None], 0.0, table.log_price)
    log_units = table.log_units + (2.0 + cross) * np.where(untested[:, None], table.log_price, 0.0)
    tested = build_table(log_units, log_price, table.weight, table.unit, table.stratum)
    interference = check_interference(tested, of_neighbours, np.zeros_like(of_neighbours))
    assert interference.slope == pytest.approx(cross, abs=0.06)
    assert (abs(interference.slope) > 3 * interference.error) == (cross > 0)
