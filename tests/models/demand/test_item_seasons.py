"""Items that follow the season of their category more, less, or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from features.contracts.arrays import Float64Array
from models.demand.blend import TREES
from models.demand.item_seasons import fit_exponents
from models.demand.learner import FitConfig, TreesConfig, fit_trees
from models.demand.panel import DemandPanel
from models.demand.simple_methods import SIMPLE, predict_simple
from tests.shops.demand_panels import make_panel

CONFIG = FitConfig(max_rows=5_000, trees=TreesConfig(n_trees=20, min_rows=20))
N_KNOWN, AHEAD = 130, range(1, 14)


def draw_toys(factors: tuple[float, float], seed: int) -> tuple[DemandPanel, Float64Array]:
    """Return 80 items and their true means: each half sells 6 a week, and so many times as much in
    five weeks of a year; after 130 weeks the third peak begins in four."""
    week = np.arange(N_KNOWN + len(AHEAD))
    is_peak = np.isin(week % 52, range(29, 34))
    factor = np.repeat(factors, 40)[:, None]
    means = 6 * np.where(is_peak, factor, 1.0)
    panel = make_panel(n_series=80, n_known=N_KNOWN)
    units = np.random.default_rng(seed).poisson(means[:, :N_KNOWN]).astype(np.float32)
    one = np.full(80, "north", object)
    panel = replace(panel, units=units, kinds=(), reach=panel.reach[:0], zones=one, categories=one)
    return panel, means[:, N_KNOWN:]


@pytest.mark.parametrize("seed", range(3))
def test_items_that_have_no_peak_get_none(seed: int) -> None:
    panel, means = draw_toys((8.0, 1.0), seed)
    exponents = fit_exponents(panel.units.astype(np.float64), panel.groups[1])
    # The category sells 4.5 times as much: ln 8 / ln 4.5 = 1.38 and 0, shrunk a little to 1.
    assert exponents[:40].mean() == pytest.approx(np.log(8) / np.log(4.5), abs=0.1)
    assert exponents[40:].mean() == pytest.approx(0.0, abs=0.25)
    peak = slice(4, 7)  # the middle of the five weeks
    steady = predict_simple(panel, AHEAD)[:, peak, SIMPLE.index("mean of 8 weeks")]
    learnt = fit_trees(panel, CONFIG, 5).predict(panel, AHEAD)[:, peak, TREES]
    for forecast in (steady, learnt):
        # The shop's season counts by .9 of its logarithm; without exponents both halves would get
        # 4.5 ** .9 = 3.9 times 6, which is 23.
        assert forecast[40:].mean() == pytest.approx(6, rel=0.45)
        assert forecast[:40].mean() == pytest.approx(means[0, 5] ** 0.9 * 6**0.1, rel=0.25)


@pytest.mark.parametrize("seed", range(3))
def test_items_that_differ_by_chance_follow_their_category(seed: int) -> None:
    panel, _ = draw_toys((4.0, 4.0), seed)
    exponents = fit_exponents(panel.units.astype(np.float64), panel.groups[1])
    assert np.abs(exponents - 1).max() < 0.1
    assert (
        fit_exponents(panel.units[:, :20].astype(np.float64), panel.groups[1]).tolist() == [1] * 80
    )
