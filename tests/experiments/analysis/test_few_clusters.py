"""Switchbacks of few periods and roll-outs of few categories: errors and alarms that hold."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.analysis.period_slopes import (
    PeriodTable,
    estimate_slope,
    estimate_with_carry_over,
    run_randomisation_test,
)
from experiments.designs.price_designs import Periods, SteppedRollout, Switchback

SLOPE = -2.0
SHOCK = 0.1  # of the log units of a whole zone or category in a period
NOISE = 0.05  # of those of an item


def draw_switchback(n_periods: int, rng: np.random.Generator) -> PeriodTable:
    """Return a switchback of two zones with four items each."""
    design = Switchback(("north", "south"), Periods(n_periods, 3))
    zone = np.repeat([0, 1], 4)
    price = np.where(design.draw_assignment(rng), 0.1, -0.1)[zone]
    units = SLOPE * price + SHOCK * rng.normal(size=(2, n_periods))[zone]
    return PeriodTable(
        log_units=units + NOISE * rng.normal(size=price.shape),
        log_price=price,
        expected_price=np.zeros_like(price),
        weight=np.ones_like(price),
        unit=zone,
        stratum=np.zeros(8, np.int64),
        is_drawn_by_period=True,
    )


def draw_rollout(
    n_units: int, n_periods: int, rng: np.random.Generator, *, slope: float, drift: float
) -> tuple[PeriodTable, SteppedRollout, np.ndarray]:
    """Return a roll-out of categories with ten items each, and the moves (N, 1) of their prices.

    Items that get higher prices sell more from period to period, by `drift`, and the others less:
    whoever chose the moves saw it coming.
    """
    design = SteppedRollout(tuple(map(str, range(n_units))), Periods(n_periods, 3))
    unit = np.repeat(np.arange(n_units), 10)
    move = rng.choice([-0.08, 0.08], size=(len(unit), 1))
    price = move * design.draw_assignment(rng)[unit]
    units = slope * price + drift * np.sign(move) * np.arange(n_periods)
    units = units + SHOCK / 2 * rng.normal(size=(n_units, n_periods))[unit]
    table = PeriodTable(
        log_units=units + NOISE * rng.normal(size=price.shape),
        log_price=price,
        expected_price=move * design.expected_assignment[unit],
        weight=np.ones_like(price),
        unit=unit,
        stratum=np.zeros(len(unit), np.int64),
    )
    return table, design, move


@pytest.mark.parametrize("n_periods", [4, 6, 8])
def test_intervals_of_a_short_switchback_hold_the_slope(n_periods):
    rng = np.random.default_rng(1)
    estimates = [estimate_slope(draw_switchback(n_periods, rng)) for _ in range(400)]
    covered = np.mean([abs(one.slope - SLOPE) <= one.margin for one in estimates])
    assert 0.92 <= covered <= 0.98  # standard error of a share of 400: .011


@pytest.mark.parametrize("n_periods", [6, 8])
def test_carry_over_that_is_not_there_gives_few_alarms(n_periods):
    rng = np.random.default_rng(2)
    alarms = []
    for _ in range(300):
        estimates = estimate_with_carry_over(draw_switchback(n_periods, rng))
        if estimates is not None:  # the prices of both periods may be the same but for their level
            alarms.append(abs(estimates[1].slope) > estimates[1].margin)
    assert len(alarms) > 250
    assert np.mean(alarms) <= 0.11  # 5 % but for few periods; standard error .013


def test_four_periods_say_nothing_of_carry_over():
    assert estimate_with_carry_over(draw_switchback(4, np.random.default_rng(3))) is None


@pytest.mark.parametrize("drift", [0.0, 0.03])
def test_a_roll_out_is_not_misled_by_who_moves_up_and_by_time(drift):
    rng = np.random.default_rng(4)
    tables = [draw_rollout(4, 5, rng, slope=0.0, drift=drift)[0] for _ in range(150)]
    estimates = [estimate_slope(table) for table in tables]
    # Drift alone would show as a slope of .03 × 3 / .16 and more. Standard deviation of one: .4.
    assert np.mean([one.slope for one in estimates]) == pytest.approx(0.0, abs=0.1)
    assert np.mean([abs(one.slope) <= one.margin for one in estimates]) >= 0.92


def test_without_noise_a_roll_out_gives_its_slope_whatever_moves_up():
    rng = np.random.default_rng(5)
    table, design, move = draw_rollout(4, 5, rng, slope=SLOPE, drift=0.0)
    exact = PeriodTable(**(vars(table) | {"log_units": SLOPE * table.log_price}))
    assert estimate_slope(exact).slope == pytest.approx(SLOPE, abs=1e-6)
    p_value = run_randomisation_test(
        exact, design, lambda drawn: move * drawn[exact.unit], np.random.default_rng(6), 199
    )
    assert p_value < 0.15  # 24 assignments, of which few are as far from the control


@pytest.mark.parametrize("n_units", [2, 3])
def test_two_or_three_categories_leave_no_error(n_units):
    table, _, _ = draw_rollout(
        n_units, n_units + 1, np.random.default_rng(7), slope=SLOPE, drift=0.0
    )
    estimate = estimate_slope(table)
    assert np.isfinite(estimate.slope)
    assert (estimate.error, estimate.margin, estimate.n_units) == (np.inf, np.inf, n_units)
