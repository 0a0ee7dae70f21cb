"""What the what-if reads from a price response that was really fitted."""

import math

import numpy as np
import pytest

from models.pricing.promotions.promotion_response import read_promotion_response
from models.pricing.promotions.what_if import evaluate_campaign
from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from tests.shops.campaigns import make_campaign
from tests.shops.price_panels import make_price_panel
from tests.shops.priced_items import make_item

N_ITEMS, N_WEEKS, DIP, SLOPE, STEP = 40, 104, -0.8, -2.0, 0.25


@pytest.fixture(scope="module")
def model():
    """Shops of known response: a step and a depth of reductions, and a dip in the week after."""
    rng = np.random.default_rng(8)
    reduced = rng.random((N_ITEMS, N_WEEKS)) < 0.2
    depth = np.where(reduced, np.log(1 - rng.choice([0.1, 0.2, 0.3], reduced.shape)), 0.0)
    before = np.concatenate([np.zeros((N_ITEMS, 1)), -depth[:, :-1]], axis=1)
    log_units = np.log(80) + SLOPE * depth + STEP * reduced + DIP * before
    log_units += 0.05 * rng.standard_normal(reduced.shape)
    list_price = np.full(reduced.shape, 500.0)
    panel = make_price_panel(
        list_price * np.exp(depth),
        rng.poisson(np.exp(log_units)),
        listed=True,
        list_price=list_price,
    )
    return fit_elasticities(panel, ElasticityConfig())


def test_step_depth_and_dip_are_those_of_the_simulated_shop(model):
    item_ids = [f"i{k:03}" for k in range(N_ITEMS)]
    response = read_promotion_response(model, [*item_ids, "unknown"], "default")
    assert np.isnan(response.slope[-1]) and np.isnan(response.dip[-1])
    # Forty items with about twenty reductions each: means within a tenth or so.
    assert response.slope[:-1].mean() == pytest.approx(SLOPE, abs=0.25)
    assert response.step[:-1].mean() == pytest.approx(STEP, abs=0.08)
    assert response.dip[:-1].mean() == pytest.approx(DIP, abs=0.25)
    assert response.family is None
    reversed_ids = read_promotion_response(model, item_ids[::-1], "default")
    assert response.select(np.arange(N_ITEMS)[::-1]).slope.tolist() == reversed_ids.slope.tolist()


def test_a_what_if_of_the_fitted_response_is_near_the_truth(model):
    response = read_promotion_response(model, ["i000"], "default")
    one = make_item("i000", current=500, cost=300.0, units=320.0)
    what_if = evaluate_campaign(make_campaign(weeks=1.0), [one], [], 4, response)
    truth = 80 * math.exp(SLOPE * math.log(0.8) + STEP)
    assert what_if.expected.units.p50 == pytest.approx(truth, rel=0.12)
    lost = 80 * (math.exp(-DIP * math.log(0.8)) - 1)
    assert what_if.after.units.p50 == pytest.approx(lost, rel=0.5)
    assert what_if.notes == ()
