"""Seasons that come back every year: measured by category, believed as far as they came back."""

from dataclasses import replace

import numpy as np
import pytest

from features.contracts.arrays import Float64Array
from models.demand.blend import TREES
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.level_drift import measure_drift
from models.demand.panel import DemandPanel
from models.demand.seasons import measure_past_season, measure_season
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
    assert 0.8 < trees.season_strength <= 1
    forecast = trees.predict(panel, AHEAD)[:, :, TREES].mean(axis=1)
    errors = np.abs(forecast - means.mean(axis=1))
    blind = replace(trees, season_strength=0.0).predict(panel, AHEAD)[:, :, TREES].mean(axis=1)
    assert errors.mean() < 0.15 * means.mean()
    assert errors.mean() < 0.5 * np.abs(blind - means.mean(axis=1)).mean()


@pytest.mark.parametrize(("n_known", "seasonal"), [(130, False), (50, True)])
def test_chance_and_a_first_year_are_no_season(n_known: int, seasonal: bool) -> None:
    panel, _ = draw_shop(n_known, seasonal=seasonal)
    assert fit_trees(panel, CONFIG, 5).season_strength < 0.25


def test_a_season_is_no_drift_of_the_zone() -> None:
    panel, _ = draw_shop(117, seasonal=True)
    panel = panel.take(np.flatnonzero(panel.categories == "Food > Tea"))
    factors = [measure_drift(panel, strength).factors(100, 112) for strength in (0.0, 1.0)]
    assert factors[0][0] > 1.3  # the season rises
    assert factors[1] == pytest.approx(1, abs=0.1)
    assert measure_drift(panel).forecast([13])[0, 0] > 1.2
    assert measure_drift(panel, 1.0).forecast([13]) == pytest.approx(1, abs=0.1)


def test_a_season_is_what_earlier_years_sold_over_their_level_then() -> None:
    year = np.ones(52)
    year[10:13] = 4.0  # a peak of three weeks
    units = 1_000 * np.tile(year, 2)[None]

    def measure_level(before: Float64Array) -> Float64Array:
        return np.asarray(before[:, -8:].mean(axis=1))

    # After 58 weeks, week 63 is the middle of the peak; after 98 none is near.
    assert measure_season(units[:, :58], 6, measure_level) == pytest.approx(4.0, rel=0.01)
    assert measure_season(units[:, :98], 6, measure_level) == pytest.approx(1.0, abs=0.01)
    assert measure_season(units[:, :40], 6, measure_level) == pytest.approx(1.0)
    past = measure_past_season(units[:, :64], 8)
    assert past is not None
    assert past[0, 7] / past[0, 0] == pytest.approx(4.0, rel=0.01)
    assert measure_past_season(units[:, :56], 8) is None
