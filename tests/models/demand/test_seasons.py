"""Seasons that come back every year: measured by category, believed as far as they came back."""

from collections.abc import Mapping
from dataclasses import astuple, replace

import numpy as np
import pytest

from features.contracts.arrays import Float64Array
from models.demand.blend import TREES
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.level_drift import measure_drift
from models.demand.panel import DemandPanel
from models.demand.seasons import (
    FULL_SEASON,
    NO_SEASON,
    fit_season_strength,
    measure_past_season,
    measure_seasons,
)
from models.demand.simple_methods import SIMPLE, predict_simple
from tests.shops.demand_panels import make_panel

CONFIG = FitConfig(max_rows=5_000, trees=TreesConfig(n_trees=20, min_rows=20))
AHEAD = range(1, 14)


def draw_shop(n_known: int, *, seasonal: bool) -> tuple[DemandPanel, Float64Array]:
    """Return 60 items of two categories with opposite seasons, or none, and their true means."""
    panel = make_panel(n_series=60, n_known=n_known, seed=4)
    phase = np.where(panel.categories == "Food > Tea", 0.0, np.pi)[:, None]
    week = np.arange(n_known + len(AHEAD))
    wave = np.sin(week / 52 * 2 * np.pi + phase) if seasonal else np.zeros((60, len(week)))
    means = 6 * np.exp(0.8 * wave)
    units = np.random.default_rng(8).poisson(means[:, :n_known]).astype(np.float32)
    panel = replace(
        panel, units=units, kinds=(), reach=panel.reach[:0], zones=np.full(60, "north", object)
    )
    return panel, means[:, n_known:]


def test_a_season_that_came_back_moves_the_learner_along_it() -> None:
    panel, means = draw_shop(130, seasonal=True)
    trees = fit_trees(panel, CONFIG, 5)
    assert 0.8 < min(astuple(trees.season_strength)) <= 1
    forecast = trees.predict(panel, AHEAD)[:, :, TREES].mean(axis=1)
    errors = np.abs(forecast - means.mean(axis=1))
    blind = (
        replace(trees, season_strength=NO_SEASON).predict(panel, AHEAD)[:, :, TREES].mean(axis=1)
    )
    assert errors.mean() < 0.15 * means.mean()
    assert errors.mean() < 0.5 * np.abs(blind - means.mean(axis=1)).mean()


@pytest.mark.parametrize(("n_known", "seasonal"), [(130, False), (50, True)])
def test_chance_and_a_first_year_are_no_season(n_known: int, seasonal: bool) -> None:
    panel, _ = draw_shop(n_known, seasonal=seasonal)
    assert fit_trees(panel, CONFIG, 5).season_strength.shop < 0.25
    assert fit_trees(panel, CONFIG, 5).season_strength.category < 0.25


def test_a_season_is_no_drift_of_the_zone() -> None:
    panel, _ = draw_shop(117, seasonal=True)
    panel = panel.take(np.flatnonzero(panel.categories == "Food > Tea"))
    factors = [
        measure_drift(panel, strength).factors(100, 112) for strength in (NO_SEASON, FULL_SEASON)
    ]
    assert factors[0][0] > 1.3  # the season rises
    assert factors[1] == pytest.approx(1, abs=0.1)
    assert measure_drift(panel).forecast([13])[0, 0] > 1.2
    assert measure_drift(panel, FULL_SEASON).forecast([13]) == pytest.approx(1, abs=0.1)


def test_a_season_is_what_earlier_years_sold_over_their_level_then() -> None:
    year = np.ones(52)
    year[10:13] = 4.0  # a peak of three weeks
    units = 1_000 * np.tile(year, 2)[None]

    # After 58 weeks, week 63 is the middle of the peak; after 98 none is near.
    assert measure_seasons(units[:, :58], [6], mean_of_8).scale(FULL_SEASON) == pytest.approx(
        4.0, rel=0.01
    )
    assert measure_seasons(units[:, :98], [6], mean_of_8).scale(FULL_SEASON) == pytest.approx(
        1.0, abs=0.01
    )
    assert measure_seasons(units[:, :40], [6], mean_of_8).scale(FULL_SEASON) == pytest.approx(1.0)
    past = measure_past_season(units[:, :64], 8)
    assert past is not None
    assert past[0, 7] / past[0, 0] == pytest.approx(4.0, rel=0.01)
    assert measure_past_season(units[:, :56], 8) is None


def test_growth_from_year_to_year_is_no_season() -> None:
    weeks = np.arange(110)
    units = 1_000 * 1.01 ** weeks[None]
    seasons = measure_seasons(units, [1, 13], mean_of_8).scale(FULL_SEASON)
    # The mean of eight weeks lies 4.5 weeks before the next one, but the growth is taken out.
    assert seasons == pytest.approx(np.ones((1, 2)), abs=0.01)
    assert not fit_season_strength(units, mean_of_8)


def mean_of_8(before: Float64Array) -> Float64Array:
    return np.asarray(before[:, -8:].mean(axis=1, keepdims=True))


def draw_peaks(n_known: int, peaks: Mapping[int, float], seed: int) -> DemandPanel:
    """Return 60 items that sell 6 a week, and so many times as much in five weeks from a week on;
    the whole zone wanders by 2 % a week."""
    rng = np.random.default_rng(seed)
    means = 6 * np.exp(np.cumsum(rng.normal(0, 0.02, n_known)))
    for week, factor in peaks.items():
        means[week : week + 5] *= factor
    panel = make_panel(n_series=60, n_known=n_known, seed=4)
    units = rng.poisson(np.tile(means, (60, 1))).astype(np.float32)
    zones = np.full(60, "north", object)
    return replace(panel, units=units, kinds=(), reach=panel.reach[:0], zones=zones)


@pytest.mark.parametrize("seed", range(5))
def test_every_method_foresees_a_peak_that_came_back(seed: int) -> None:
    """After 130 weeks the third peak begins in four weeks: most weeks of a year show none."""
    panel = draw_peaks(130, {29: 5.0, 81: 5.0}, seed)
    level = panel.units[:, -8:].mean()
    means = predict_simple(panel, AHEAD).mean(axis=0)
    peak = means[4:7] / level  # weeks 134 to 136, the middle of the five
    own_time = "seasonal naive", "cycle of 4 weeks"  # they repeat weeks of their own choice
    names = [name for name in SIMPLE if name not in own_time]
    for name in names:
        # 5 with a strength of .85 of the logarithm is 3.9, and a method's own level of a zone that
        # wanders lies within a fifth of the mean of 8 weeks.
        assert (peak[:, SIMPLE.index(name)] > 0.8 * 3.9).all(), name
        assert (peak[:, SIMPLE.index(name)] < 1.2 * 5).all(), name
    outside = means[[0, 12]] / level
    assert (np.abs(outside - 1) < 0.35).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_peak_that_did_not_come_back_is_no_season(seed: int) -> None:
    panel = draw_peaks(130, {82: 5.0}, seed)
    level = panel.units[:, -8:].mean()
    means = predict_simple(panel, AHEAD).mean(axis=0)[:, SIMPLE.index("decaying mean")]
    assert means == pytest.approx(np.full(13, level), rel=0.2)
