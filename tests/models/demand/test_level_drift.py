from dataclasses import replace

import numpy as np
import pytest

from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.level_drift import measure_drift
from models.demand.panel import DemandPanel
from tests.shops.demand_panels import make_panel


def test_drift_is_the_movement_of_the_zone() -> None:
    panel = make_panel(n_series=4, n_known=30)
    units = np.full((4, 30), 1_000.0, np.float32)
    units[panel.zones == "north", 20:] = 1_500
    drift = measure_drift(replace(panel, units=units))
    level, prior = 2_000, 100  # two items a zone
    north = panel.zones == "north"
    factors = drift.factors(20, 25)
    assert factors[north] == pytest.approx(1.5 ** (level / (level + prior)), rel=1e-4)
    assert factors[~north] == pytest.approx(1)


def test_a_zone_without_sales_does_not_drift() -> None:
    panel = make_panel(n_series=4, n_known=30)
    drift = measure_drift(replace(panel, units=np.zeros((4, 30), np.float32)))
    assert (drift.factors(20, 25) == 1).all()


def shop_with_growth(until: int, weekly: float = 0.03, n_known: int = 40) -> DemandPanel:
    """A shop that grows by 3 % a week until a week, and is stable from then on."""
    panel = make_panel(n_series=400, n_known=n_known, seed=9)
    growth = (1 + weekly) ** np.minimum(np.arange(n_known), until)
    units = np.random.default_rng(10).poisson(5 * growth, (400, n_known)).astype(np.float32)
    return replace(panel, units=units)


def forecast_far(panel: DemandPanel) -> float:
    """The learner's mean 13 weeks ahead over that one week ahead."""
    config = FitConfig(max_rows=20_000, trees=TreesConfig(n_trees=60, min_rows=20))
    means = fit_trees(panel, config, 5).predict(panel, [1, 13])[:, :, 0].mean(axis=0)
    return float(means[1] / means[0])


def test_what_a_shop_lost_in_training_is_not_lost_again() -> None:
    """Sales fell by 3/8 some 22 weeks ago, which most of the training weeks saw ahead of them."""
    panel = make_panel(n_series=300, n_known=56, seed=9)
    level = np.where(np.arange(56) < 34, 8.0, 5.0)
    units = np.random.default_rng(10).poisson(level, (300, 56)).astype(np.float32)
    assert forecast_far(replace(panel, units=units)) == pytest.approx(1, abs=0.03)


def test_a_shop_that_grows_on_is_forecast_to_grow() -> None:
    panel = shop_with_growth(until=40)
    growth = measure_drift(panel).forecast([1, 13])[0]
    damped = sum(0.95**week for week in range(2, 14))
    # A zone of 2,000 units a week: its movement counts to 95 %.
    assert growth[1] / growth[0] == pytest.approx(1.03**damped, rel=0.03)
    assert 1.1 < forecast_far(panel) < 1.4


def test_noise_is_no_trend() -> None:
    rng = np.random.default_rng(7)
    panel = make_panel(n_series=40, n_known=40)
    moved = 0
    for _ in range(100):
        units = rng.poisson(5, (40, 40)).astype(np.float32)
        moved += int((measure_drift(replace(panel, units=units)).forecast([13]) != 1).any())
    assert moved <= 8  # of 200 zones, each beyond three standard errors in .3 % of all cases
