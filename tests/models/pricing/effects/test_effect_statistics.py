"""Effects of price changes from counts: known answers, and limits that a shop can rely on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pricing.effects.common_shift import (
    CommonShift,
    combine_with_forecast,
    estimate_common_shift,
    measure_excess,
)
from models.pricing.effects.counterfactuals import SoldItems, build_control
from models.pricing.effects.estimate import (
    ObservedChanges,
    Verdict,
    decide_verdicts,
    draw_units,
    estimate_effects,
    estimate_sum,
)
from models.pricing.effects.looks import find_limits, is_below_forecast
from models.pricing.effects.pooling import pool_changes


def make_changes(sold, keeping, predicted=0.0, dispersion=0.01, control_error=0.0):
    """Changes from a price of 100 to 110 at a cost of 60."""
    n = len(sold)
    return ObservedChanges(
        sold=np.array(sold, float),
        keeping=np.array(keeping, float),
        dispersion=np.full(n, dispersion),
        control_error=np.full(n, control_error),
        group=np.zeros(n, np.int64),
        predicted=np.full(n, predicted),
        predicted_error=np.zeros(n),
        net_before=np.full(n, 100.0),
        net_after=np.full(n, 110.0),
        unit_cost=np.full(n, 60.0),
    )


def make_sold_items(factor, n=24, category="Food > Tea", family=""):
    """Items that were expected to sell 100 and sold `factor` times as many; the first changed."""
    return SoldItems(
        units=np.full(n, 100.0 * factor),
        expected=np.full(n, 100.0),
        dispersion=np.full(n, 0.02),
        category=np.array([category] * n, object),
        family=np.array([family] * n, object),
        is_control=np.arange(n) > 0,
    )


def test_an_effect_is_what_was_sold_less_what_keeping_would_have_sold() -> None:
    changes = make_changes([80], [100])
    (effect,) = estimate_effects(changes, draw_units(changes, np.random.default_rng(1)))
    assert effect.units.p50 == 80 - 100
    assert effect.revenue.p50 == 80 * 110 - 100 * 100
    assert effect.profit.p50 == 80 * (110 - 60) - 100 * (100 - 60)
    # Poisson noise of the count, and the forecast's: 1.28 × √(80 + .01 × 100²) = 17.2
    assert effect.units.p10 == pytest.approx(-20 - 1.2816 * math.sqrt(80 + 100), abs=1.5)


def test_demand_that_moved_as_a_whole_is_no_effect_of_a_price() -> None:
    sold = make_sold_items(1.5)
    control = build_control(sold, np.array([0]), common_error=0.3)
    assert control.groups[0].describe() == "unchanged items of Food > Tea (23)"
    assert control.keeping[0] == pytest.approx(150, rel=0.03)


def test_with_few_unchanged_items_the_forecast_is_the_control() -> None:
    sold = make_sold_items(1.5, n=3)
    control = build_control(sold, np.array([0]), common_error=0.01)
    assert control.groups[0].describe() == "forecast"
    assert control.keeping[0] == pytest.approx(100, rel=0.03)
    nobody = build_control(make_sold_items(1.5, n=1), np.array([0]), common_error=0.1)
    assert nobody.keeping[0] == 100
    assert nobody.error[0] == 0.1


def test_the_family_of_an_item_is_no_control_of_it() -> None:
    tea, milk = make_sold_items(2.0, n=10, family="f1"), make_sold_items(1.0, n=10)
    both = SoldItems(
        *(
            np.concatenate([getattr(tea, name), getattr(milk, name)])
            for name in ("units", "expected", "dispersion", "category", "family", "is_control")
        )
    )
    control = build_control(both, np.array([0]), common_error=0.3)
    assert control.groups[0].shift.n_items == 9
    assert control.keeping[0] == pytest.approx(100, rel=0.03)


def test_families_of_a_category_share_the_error_of_their_control() -> None:
    """Ten changed items of ten families: the chance of the same 30 unchanged items meets all."""
    sold = make_sold_items(1.0, n=40)
    sold.family[:10] = [f"family {number}" for number in range(10)]
    sold.is_control[:10] = False
    control = build_control(sold, np.arange(10), common_error=0.3)
    assert len(control.groups) == 10
    assert control.error_group.tolist() == [0] * 10
    changes = make_changes([100] * 10, control.keeping)
    changes = replace(changes, control_error=control.error, group=control.error_group)
    alone = pool_changes(replace(changes, control_error=np.zeros(10))).error
    together = pool_changes(changes).error
    assert together == pytest.approx(math.hypot(alone, control.error[0]), rel=1e-6)


def test_a_category_of_few_items_takes_the_next_higher_one() -> None:
    sold = make_sold_items(1.0, n=30)
    sold.category[:4] = "Food > Coffee"
    control = build_control(sold, np.array([0]), common_error=0.3)
    assert control.groups[0].category == "Food"
    assert control.groups[0].shift.n_items == 29


def test_items_that_sell_nothing_say_that_demand_is_low() -> None:
    few = np.full(40, 0.5)
    units = np.zeros(40)
    units[:2] = 1.0
    shift = estimate_common_shift(units, few, np.full(40, 0.5))
    # Two sold of 20 expected.
    assert shift.log == pytest.approx(math.log(0.1), rel=1e-6)
    assert combine_with_forecast(shift, 0.2).log > shift.log


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0.1, 500)), min_size=1, max_size=40),
    st.floats(0, 2),
)
def test_the_shift_of_the_forecasts_times_a_factor_is_less_by_its_logarithm(rows, dispersion):
    units, expected = (np.array(column, float) for column in zip(*rows, strict=True))
    spread = np.full(len(units), dispersion)
    shift = estimate_common_shift(units, expected, 0 * spread)
    doubled = estimate_common_shift(units, 2 * expected, 0 * spread)
    if abs(shift.log) < 2 and abs(doubled.log) < 2:
        assert doubled.log == pytest.approx(shift.log - math.log(2), abs=1e-6)
    assert math.isfinite(estimate_common_shift(units, expected, spread).error)


def test_the_excess_of_few_items_stays_near_one() -> None:
    exact = np.full(400, 50.0)
    assert measure_excess(exact, exact, np.full(400, 0.1)) < 0.1
    assert measure_excess(exact[:2], exact[:2], np.full(2, 0.1)) == pytest.approx(10 / 11)


def test_a_change_is_worse_where_it_sells_less_than_its_forecast() -> None:
    changes = make_changes([60, 95, 140, 100], [100, 100, 100, 100], predicted=-0.05)
    changes.predicted[3] = np.nan
    draws = draw_units(changes, np.random.default_rng(2))
    assert decide_verdicts(draws) == [
        Verdict.WORSE,
        Verdict.AS_EXPECTED,
        Verdict.BETTER,
        Verdict.UNKNOWN,
    ]


def test_changes_of_one_control_err_together() -> None:
    rng = np.random.default_rng(3)
    alone = make_changes([100] * 20, [100] * 20)
    together = make_changes([100] * 20, [100] * 20, control_error=0.1)
    widths = [
        effect.profit.p90 - effect.profit.p10
        for changes in (alone, together)
        for effect in (
            estimate_sum(changes, draw_units(changes, rng)),
            pool_changes(changes).effect,
        )
    ]
    # 20 × 4,000 minor units at 1.28 × .1 on either side
    assert widths[2] > 2 * 1.28 * 0.1 * 80_000 > widths[0]
    assert widths[3] == pytest.approx(widths[2], rel=0.3)


def test_pooling_finds_what_twenty_items_agree_on() -> None:
    changes = make_changes([60] * 20, [75] * 20, predicted=0.0, dispersion=0.03)
    pooled = pool_changes(changes)
    assert pooled.deviation == pytest.approx(math.log(60 / 75), abs=1e-6)
    # √((1 / 60 + .03) / 20) = .048
    assert pooled.error == pytest.approx(math.sqrt((1 / 60 + 0.03) / 20), rel=1e-6)
    assert pooled.effect.profit.p50 == pytest.approx(20 * (60 * 50 - 75 * 40), abs=1e-6)


def test_a_batch_alarms_below_its_forecast_only_if_its_old_prices_earned_more() -> None:
    worse = pool_changes(make_changes([50] * 20, [75] * 20, dispersion=0.03))
    assert worse.effect.profit.p50 < 0
    assert [is_below_forecast(worse, week) for week in range(1, 6)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    # Sells 15 % less than the rise was expected to, and earns more than before all the same.
    still = pool_changes(make_changes([70] * 20, [75] * 20, predicted=0.1, dispersion=0.01))
    assert still.score < find_limits()[-1]
    assert still.effect.profit.p50 > 0
    assert not is_below_forecast(still, 4)


def test_weekly_looks_at_chance_alarm_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(4)
    # Sums of weekly normal deviations, and their scores after 2, 3 and 4 weeks.
    sums = np.cumsum(rng.standard_normal((40_000, 4)), axis=1)[:, 1:] / np.sqrt([2, 3, 4])
    alarms = (sums < np.array(find_limits())).any(axis=1)
    assert alarms.mean() == pytest.approx(0.05, abs=0.004)


def test_a_control_nobody_knows_leaves_the_forecast_error() -> None:
    assert combine_with_forecast(CommonShift(0.0, math.inf, 0), 0.25) == CommonShift(0.0, 0.25, 0)
