from dataclasses import replace

import numpy as np
import pytest

from models.demand.censoring import (
    fill_censored_weeks,
    find_censored_weeks,
    measure_activity,
)
from models.demand.launches import decaying_mean, find_launch_weeks, mean_since_launch
from models.demand.model import predict_without_learner
from models.demand.simple_methods import (
    SIMPLE,
    estimate_season,
    lower_spikes,
    predict_damped_trend,
    predict_simple,
    predict_theta,
    repeat_cycle,
)
from tests.shops.demand_panels import make_panel


def test_every_method_forecasts_a_level_as_it_is() -> None:
    panel = make_panel(n_series=6, n_known=30)
    panel = replace(panel, units=np.full((6, 30), 4.0, np.float32))
    means = predict_simple(panel, range(1, 14))
    assert means.shape == (6, 13, len(SIMPLE))
    sba = SIMPLE.index("CrostonSBA")
    assert means[:, :, sba] == pytest.approx(np.full((6, 13), 0.95 * 4))
    assert np.delete(means, sba, axis=2) == pytest.approx(np.full((6, 13, len(SIMPLE) - 1), 4.0))


@pytest.mark.parametrize("n_known", [1, 2, 3, 4, 9])
def test_every_method_has_a_forecast_from_the_first_week_on(n_known: int) -> None:
    means = predict_simple(make_panel(n_series=8, n_known=n_known), range(1, 14))
    assert np.isfinite(means).all()
    assert means.min() >= 0


def test_weeks_before_a_launch_are_no_weeks_without_demand() -> None:
    launched = np.array([[0, 0, 0, 0, 6, 4, 5]], float)
    assert find_launch_weeks(launched).tolist() == [4]
    assert mean_since_launch(launched, 26).tolist() == [5.0]
    assert mean_since_launch(launched, 2).tolist() == [4.5]
    assert decaying_mean(launched, 0.5) == pytest.approx([(6 + 4 * 2 + 5 * 4) / 7])


def test_a_slow_item_that_sold_late_was_not_launched() -> None:
    slow = np.array([[0, 0, 0, 1, 0, 0, 1]], float)  # 1 unit in the 3 weeks after the first sale
    assert find_launch_weeks(slow).tolist() == [0]
    assert mean_since_launch(slow, 26) == pytest.approx([2 / 7])


def test_one_bulk_order_is_lowered_and_a_second_one_is_not() -> None:
    once = np.array([[3, 4, 3, 400, 2, 3]], float)
    twice = np.array([[3, 4, 300, 400, 2, 3]], float)
    assert lower_spikes(once).tolist() == [[3, 4, 3, 4, 2, 3]]
    assert lower_spikes(twice).tolist() == twice.tolist()


def test_trends_follow_a_line() -> None:
    line = np.arange(40, dtype=float)[None]
    # The smoothed level of a line lags (1 - .2) / .2 = 4 weeks behind; Theta adds half the slope of
    # each week since the middle of its memory of 5 weeks, and of each week ahead.
    assert predict_theta(line, [1, 11])[0] == pytest.approx([39 - 4 + 5 / 2, 39 - 4 + 15 / 2], 0.01)
    first, later = predict_damped_trend(line, [1, 13])[0]
    assert 39 - 4 < first < later < 39 + 13  # above the smoothed level, and not for ever


def test_a_season_comes_from_the_years_before() -> None:
    week = np.arange(120)
    wave = 10 + 5 * np.sin(2 * np.pi * week / 52)
    units = np.tile(np.append(wave[:60], wave[60:]), (4, 1)) * 10
    season = estimate_season(units, np.zeros(4, int), [13])
    before = wave[112:120].mean()
    assert season[0, 0] == pytest.approx(wave[132 - 104] / before, rel=0.05)
    young = estimate_season(units[:, :40], np.zeros(4, int), [1, 13])
    assert young.tolist() == [[1.0, 1.0]] * 4


def test_closed_weeks_are_not_low_demand() -> None:
    panel = make_panel(n_series=6, n_known=12)
    units = np.full((6, 12), 5.0, np.float32)
    units[1::2, 6:8] = 0  # the shops of zone north
    closed = replace(panel, units=units)
    assert find_censored_weeks(closed)[1::2, 6:8].all()
    assert find_censored_weeks(closed).sum() == 3 * 2
    assert fill_censored_weeks(closed).units.tolist() == np.full((6, 12), 5.0).tolist()


def test_a_shop_that_sells_nothing_any_more_has_no_closed_weeks() -> None:
    panel = make_panel(n_series=6, n_known=12)
    units = np.full((6, 12), 5.0, np.float32)
    units[:, 8:] = 0
    assert not find_censored_weeks(replace(panel, units=units)).any()


def test_each_week_of_silence_halves_what_a_zone_is_expected_to_sell() -> None:
    panel = make_panel(n_series=6, n_known=12)
    units = np.full((6, 12), 5.0, np.float32)
    units[1::2, 8:] = 0  # four weeks of zone north
    silent = replace(panel, units=units)
    assert measure_activity(silent).tolist() == [1, 1 / 8] * 3
    assert np.nanmax(predict_without_learner(silent, [1, 2])[1::2]) < 5 / 8 + 0.1
    shares = np.ones((6, 25), np.float32)
    shares[1::2, 8:12] = 0  # it was closed
    assert measure_activity(replace(silent, open_share=shares)).tolist() == [1] * 6
    assert measure_activity(replace(panel, units=units[:, :9], n_known=9)).tolist() == [1] * 6


def test_a_slow_shop_has_weeks_without_a_sale() -> None:
    panel = make_panel(n_series=2, n_known=12)
    units = np.zeros((2, 12), np.float32)
    units[:, ::2] = 1
    assert not find_censored_weeks(replace(panel, units=units)).any()


def test_a_box_that_comes_every_four_weeks_comes_again() -> None:
    """Subscribers of one week of four, and deals of every second week."""
    box, deal = np.tile([40.0, 2, 2, 2], 15), np.tile([8.0, 3], 30)
    cycle = repeat_cycle(np.stack([box, deal]), [1, 2, 3, 4, 5, 13])
    assert cycle.tolist() == [[40, 2, 2, 2, 40, 40], [8, 3, 8, 3, 8, 8]]
    panel = make_panel(n_series=2, n_known=60)
    panel = replace(panel, units=np.stack([box, deal]).astype(np.float32))
    means = predict_simple(panel, [1, 2])[:, :, SIMPLE.index("cycle of 4 weeks")]
    assert means == pytest.approx(np.array([[40.0, 2], [8, 3]]), rel=0.15)
