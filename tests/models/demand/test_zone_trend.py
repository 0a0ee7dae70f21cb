"""The trend of a zone: what is one, and what simple methods make of it."""

from dataclasses import replace

import numpy as np
import pytest

from features.contracts.arrays import Float64Array
from models.demand.model import predict_without_learner
from models.demand.panel import DemandPanel
from models.demand.seasons import NO_SEASON
from models.demand.simple_methods import SIMPLE, measure_trend, predict_simple
from models.demand.zone_trend import TREND_WEEKS, ZoneTrend, damp_steps, fit_trend
from tests.shops.demand_panels import make_panel

WEEKLY = np.log(1.04)


def add_noise(log_units: Float64Array, seed: int, deviation: float = 0.05) -> Float64Array:
    noise = np.random.default_rng(seed).normal(0, deviation, len(log_units))
    return np.asarray(1_000 * np.exp(log_units + noise))


def fit_many(log_units: Float64Array) -> Float64Array:
    return np.array([fit_trend(add_noise(log_units, seed)) for seed in range(40)])


@pytest.mark.parametrize("weekly", [0.04, -0.03])
def test_half_of_a_young_shops_growth_or_more_counts(weekly: float) -> None:
    share = fit_many(weekly * np.arange(14.0)) / weekly
    assert 0.5 < share.mean() < 1
    assert share.min() >= 0


def test_with_more_weeks_nearly_all_of_it_counts() -> None:
    share = fit_many(0.04 * np.arange(30.0)) / 0.04
    assert 0.75 < share.mean() < 1


@pytest.mark.parametrize("n_weeks", [14, 26, 40])
def test_a_strong_month_that_is_over_is_no_trend(n_weeks: int) -> None:
    log_units = np.zeros(n_weeks)
    log_units[-8:-4] = 0.4
    assert np.abs(fit_many(log_units)).max() < 0.004


@pytest.mark.parametrize("n_weeks", [14, 26, 40])
def test_of_a_strong_month_that_lasts_less_than_a_fifth_is_a_trend(n_weeks: int) -> None:
    log_units = np.zeros(n_weeks)
    log_units[-4:] = 0.4
    recent = log_units[-TREND_WEEKS:]
    straight_line = np.polyfit(np.arange(len(recent)), recent, 1)[0]
    assert fit_many(log_units).mean() < straight_line / 5


def test_of_growth_that_stopped_two_months_ago_less_than_a_fifth_is_a_trend() -> None:
    log_units = 0.04 * np.minimum(np.arange(30.0), 22)
    assert fit_many(log_units).mean() < 0.04 / 5


@pytest.mark.parametrize("units", [np.ones(11), np.zeros(40), np.r_[np.ones(30), 0, np.ones(9)]])
def test_few_weeks_or_empty_ones_have_no_trend(units: Float64Array) -> None:
    growth = np.exp(0.05 * np.arange(len(units)))
    assert fit_trend(units * growth) == 0


def test_an_empty_week_before_the_weeks_that_are_read_does_no_harm() -> None:
    units = np.exp(WEEKLY * np.arange(40.0))
    units[10] = 0
    assert fit_trend(units) == pytest.approx(WEEKLY, rel=0.01)


def test_the_line_ends_at_one_and_rises_less_every_week() -> None:
    trend = ZoneTrend(np.array([0.0, 0.02]), np.array([1, 0, 1]))
    past = trend.past(TREND_WEEKS + 5)
    assert past[:, -1] == pytest.approx(1)
    assert past[0, -3] == pytest.approx(np.exp(-0.04))
    assert (past[0, :6] == past[0, 0]).all() and (past[1] == 1).all()
    ahead = trend.ahead([1, 2])
    assert ahead[0] == pytest.approx(np.exp([0.02 * 0.95, 0.02 * (0.95 + 0.95**2)]))
    assert (ahead[1] == 1).all()
    assert ZoneTrend(np.array([1.0]), np.array([0])).ahead([13])[0, 0] == pytest.approx(2)


def grow(weekly: float, n_weeks: int = 20) -> DemandPanel:
    """A panel whose 60 items all sell 400 units in the last week, without noise."""
    panel = make_panel(n_series=60, n_known=n_weeks)
    line = np.exp(weekly * np.arange(1.0 - n_weeks, 1))
    return replace(panel, units=np.tile(400 * line, (60, 1)).astype(np.float32))


@pytest.mark.parametrize("weekly", [0.0, 0.04, -0.03])
def test_every_simple_method_answers_on_the_trend_line(weekly: float) -> None:
    steps = np.array([1, 4, 13])
    expected = 400 * np.exp(weekly * damp_steps(steps.astype(np.float64)))
    means = predict_simple(grow(weekly), steps.tolist())
    # Croston's correction takes off a twentieth. Zones of 12,000 units: 99 % of the trend counts.
    for method, name in enumerate(SIMPLE):
        share = 0.95 if name == "CrostonSBA" else 1.0
        rows = np.tile(share * expected, (60, 1))
        assert means[:, :, method] == pytest.approx(rows, rel=0.02), name


@pytest.mark.parametrize(("n_weeks", "share"), [(20, 1.0), (25, 0.5), (30, 0.0), (50, 0.0)])
def test_what_may_be_a_season_of_the_first_year_is_no_trend(n_weeks: int, share: float) -> None:
    slopes = measure_trend(grow(0.04, n_weeks), NO_SEASON).slopes
    assert slopes == pytest.approx(share * 0.04, rel=0.02)


def test_tsb_without_the_learner_knows_the_trend_too() -> None:
    rise = 0.04 * damp_steps(np.array([8.0]))
    means = predict_without_learner(grow(0.04), [8])
    tsb = means[:, 0, 1]
    assert tsb == pytest.approx(400 * np.exp(rise[0]), rel=0.02)
