"""Randomised evidence beside observational slopes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.randomised import (
    MeasuredSlopes,
    UncertainSlopes,
    add_measured_slopes,
    hide_test_weeks,
)
from tests.shops.price_panels import draw_price_panel

CONFIG = ElasticityConfig()


def make_slopes(n: int = 4, *, shop: float = 0.3, category: float = 0.2) -> UncertainSlopes:
    """Return slopes of -2 with a standard error of .6, in two categories by turns."""
    return UncertainSlopes(
        mean=np.full(n, -2.0),
        variance=np.full(n, 0.36),
        shop_error=np.full(n, shop),
        category_error=np.full(n, category),
        category=np.arange(n) % 2,
    )


def test_a_measured_slope_counts_by_its_precision():
    # Alone: precisions 1 / .36 and 1 / .09 weigh -2 and -3.
    after = add_measured_slopes(
        make_slopes(1, shop=0.0, category=0.0), np.array([0]), np.array([-3.0]), np.array([0.3])
    )
    assert after.mean[0] == pytest.approx((-2 / 0.36 - 3 / 0.09) / (1 / 0.36 + 1 / 0.09))
    assert after.variance[0] == pytest.approx(1 / (1 / 0.36 + 1 / 0.09))


def test_a_test_also_corrects_what_others_share_with_the_tested_item():
    after = add_measured_slopes(make_slopes(), np.array([0]), np.array([-3.0]), np.array([0.3]))
    # What moves with the tested item: .3² + .2² in its category, .3² in the other, of .36 + .09.
    assert after.mean[2] == pytest.approx(-2 - (0.09 + 0.04) / (0.36 + 0.09))
    assert after.mean[1] == pytest.approx(-2 - 0.09 / (0.36 + 0.09))
    assert after.variance[1] == pytest.approx(0.36 - 0.09**2 / 0.45)
    assert (after.shop_error < 0.3).all() and (after.category_error[::2] < 0.2).all()
    assert after.category_error[1::2] == pytest.approx([0.2, 0.2])


@given(
    slope=st.lists(st.floats(-4, 0), min_size=3, max_size=3),
    error=st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
)
def test_the_order_of_tests_does_not_matter_and_evidence_never_widens(slope, error):
    series, slopes, errors = np.array([0, 1, 0]), np.array(slope), np.array(error)
    prior = make_slopes()
    forward = add_measured_slopes(prior, series, slopes, errors)
    backward = add_measured_slopes(prior, series[::-1], slopes[::-1], errors[::-1])
    assert forward.mean == pytest.approx(backward.mean)
    assert forward.variance == pytest.approx(backward.variance)
    assert (forward.variance <= prior.variance + 1e-12).all()


def test_the_posterior_is_calibrated_for_tested_and_untested_items():
    rng = np.random.default_rng(1)
    prior, n = make_slopes(12), 12
    scores = []
    for _ in range(400):
        truth = -2 + 0.3 * rng.normal() + 0.2 * rng.normal(size=2)[prior.category]
        truth = truth + np.sqrt(0.36 - 0.09 - 0.04) * rng.normal(size=n)
        tested = np.arange(0, n, 3)
        measured = truth[tested] + 0.4 * rng.normal(size=len(tested))
        after = add_measured_slopes(prior, tested, measured, np.full(len(tested), 0.4))
        scores.append((truth - after.mean) / np.sqrt(after.variance))
    # 4,800 standard normal scores, correlated within a shop.
    assert np.std(scores) == pytest.approx(1.0, abs=0.05)
    assert np.mean(scores) == pytest.approx(0.0, abs=0.06)


def measure(panel, slope: float, error: float = 0.2, first_week: int = 40) -> MeasuredSlopes:
    """Return a test of the first item, in four weeks of the panel."""
    return MeasuredSlopes(
        item_ids=panel.item_ids[:1],
        zones=panel.zones[:1],
        slope=np.array([slope]),
        error=np.array([error]),
        first_week=np.array([first_week]),
        end_week=np.array([first_week + 4]),
    )


def test_a_fit_with_a_test_moves_to_it_and_is_surer_than_the_fit_without():
    panel = draw_price_panel(np.full(20, -2.0), regular_moves=3)
    without = fit_elasticities(panel, CONFIG)
    with_test = fit_elasticities(panel, CONFIG, measure(panel, -3.5))
    before, after = without.columns, with_test.columns
    assert after["elasticity"][0] < before["elasticity"][0] - 0.2
    assert after["error"][0] < before["error"][0]
    # As the choice and log-linear forms use it: the coefficient moves by as much.
    assert after["responses"][0, 0] < before["responses"][0, 0] - 0.2
    assert after["grade"][0] <= before["grade"][0]


def test_a_grade_rises_when_a_test_measures_what_the_past_does_not_tell():
    panel = draw_price_panel(np.full(20, -2.0), n_weeks=60)
    # Nobody ever moved the regular price of the first item but the test, up and back.
    moved = panel.log_list.copy()
    moved[0, 30:36] += 0.1
    price = panel.log_price.copy()
    price[0, 30:36] += 0.1
    panel = replace(panel, log_list=moved, log_price=price)
    test = replace(measure(panel, -2.2, 0.3, 30), end_week=np.array([36]))
    assert fit_elasticities(panel, CONFIG, test).columns["error"][0] < 0.3
    before = fit_elasticities(panel, CONFIG).columns["grade"][0]
    assert fit_elasticities(panel, CONFIG, test).columns["grade"][0] <= before


def test_weeks_of_a_test_count_once():
    panel = draw_price_panel(np.full(4, -2.0))
    hidden = hide_test_weeks(panel, measure(panel, -2.0))
    assert np.isnan(hidden.log_price[0, 40:44]).all()
    shown = np.ones(panel.log_price.shape, bool)
    shown[0, 40:44] = False
    assert (hidden.log_price[shown] == panel.log_price[shown]).all()


def test_a_test_of_an_item_that_is_not_fitted_is_left_out():
    panel = draw_price_panel(np.full(4, -2.0))
    unknown = replace(measure(panel, -9.0), item_ids=np.array(["other"], object))
    without, with_test = (fit_elasticities(panel, CONFIG, test) for test in (None, unknown))
    assert with_test.columns["elasticity"] == pytest.approx(without.columns["elasticity"])
