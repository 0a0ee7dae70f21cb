"""Weeks without a sale count: slopes of slow items are not shrunk towards 0."""

import numpy as np
import pytest
from scipy.stats import poisson

from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.working_response import build_count_response, build_log_response
from tests.shops.price_panels import draw_regular_moves, make_price_panel


def test_log_units_of_weeks_with_a_sale():
    panel = make_price_panel(np.full((1, 3), 100.0), np.array([[4.0, 0.0, 1.0]]))
    response = build_log_response(panel, 0.1)
    assert response.values[0].tolist() == [np.log(4), 0.0, 0.0]
    assert response.weights[0] == pytest.approx([1 / (1 / 4 + 0.1), 0.0, 1 / (1 + 0.1)])


def test_working_values_of_counts_by_hand():
    units = np.array([[0.0, 3.0]])
    panel = make_price_panel(np.full((1, 2), 100.0), units, listed=True)
    response = build_count_response(panel, np.log([[2.0, 2.0]]), 0.1)
    expected = [np.log(2) + (0 - 2) / 2, np.log(2) + (3 - 2) / 2]
    assert response.values[0] == pytest.approx(expected)
    assert response.weights[0] == pytest.approx([1 / (1 / 2 + 0.1)] * 2)


@pytest.mark.parametrize("mean", [0.1, 0.7, 3.0])
def test_counts_truncated_at_0_have_the_mean_and_variance_of_their_distribution(mean):
    units = np.arange(1, 60)
    chance = poisson.pmf(units, mean) / (1 - np.exp(-mean))
    expected = (units * chance).sum()
    variance = (units**2 * chance).sum() - expected**2
    panel = make_price_panel(np.full((1, 2), 100.0), np.array([[2.0, 0.0]]))
    response = build_count_response(panel, np.log([[mean, mean]]), 0.0)
    # The variance of a truncated Poisson count is also the slope of its mean by the log of `mean`.
    assert response.weights[0] == pytest.approx([variance, 0.0])
    assert response.values[0, 0] == pytest.approx(np.log(mean) + (2 - expected) / variance)


def draw_slow_items(rate, rng, n=400, n_weeks=104):
    """Counts of items that sell `rate` a week at their usual price, of elasticity -2."""
    reduced = rng.random((n, n_weeks)) < 0.2
    regular = draw_regular_moves(n, n_weeks, 6, rng)
    price = regular - reduced * rng.uniform(0.1, 0.35, (n, n_weeks))
    units = rng.poisson(rate * np.exp(-2.0 * price)).astype(float)
    return np.exp(price + np.log(500)), np.exp(regular + np.log(500)), units


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("listed", [True, False])
def test_slow_items_keep_their_slope(rate, listed):
    """The mean elasticity of 400 items lies within .25 of -2, with and without a price list.

    Logs of weeks with a sale alone keep .18, .35 and .66 of the slope at these rates.
    """
    price, regular, units = draw_slow_items(rate, np.random.default_rng(17))
    paid = price if listed else np.where(units > 0, price, np.nan)
    panel = make_price_panel(paid, units, listed=listed, list_price=regular)
    model = fit_elasticities(panel, ElasticityConfig())
    assert model.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.25)


@pytest.mark.parametrize("listed", [True, False])
def test_a_mean_far_above_all_sales_is_cut_and_one_far_below_is_the_least(listed):
    """Else the steps diverge: the week with the highest mean has the largest weight."""
    panel = make_price_panel(np.full((1, 2), 100.0), [[4.0, 1.0]], listed=listed)
    cut = build_count_response(panel, np.array([[50.0, -50.0]]), 0.1)
    bounded = build_count_response(panel, np.array([[np.log(4.0) + 1.0, -4.0]]), 0.1)
    np.testing.assert_array_equal(cut.values, bounded.values)
    np.testing.assert_array_equal(cut.weights, bounded.weights)
    mean = 4 * np.e
    if listed:
        assert cut.values[0, 0] == pytest.approx(np.log(mean) + (4 - mean) / mean)
        assert cut.weights[0, 0] == pytest.approx(1 / (1 / mean + 0.1))
