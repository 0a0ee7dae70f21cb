from dataclasses import replace

import numpy as np
import pytest

from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.cross_effects import add_cross_effects
from models.pricing.response.elasticity import CrossElasticities
from models.pricing.rules import PricingRules
from tests.shops.priced_items import compare_price, make_item


def family():
    """a and b are in one family; a's price moves b's units by .5 %, b's price a's by .2 %, for each
    percent."""
    cross = CrossElasticities(
        np.array([1, 0]), np.array([0, 1]), np.array([0.5, 0.2]), np.array([0.3, 0.6])
    )
    return add_cross_effects(
        [
            make_item("a", units=40),
            make_item("b", units=100, current=400, cost=150.0),
            make_item("c"),
        ],
        cross,
    )


def test_what_the_neighbours_gain_is_effect_times_units_price_and_margin():
    a, b, c = family()
    assert (a.cross_units, a.cross_revenue_minor, a.cross_profit_minor) == (
        0.5 * 100,
        0.5 * 100 * 400,
        0.5 * 100 * (400 - 150),
    )
    assert b.cross_profit_minor == 0.2 * 40 * (500 - 300)
    assert c.cross_profit_minor == 0
    assert (a.cross_error, b.cross_error, c.cross_error) == (0.3, 0.6, 0.0)


def test_the_error_of_a_family_is_the_mean_of_its_members_by_what_they_gain():
    cross = CrossElasticities(
        np.array([1, 2]), np.array([0, 0]), np.array([0.5, 0.2]), np.array([0.3, 0.6])
    )
    items = [make_item("a", units=40), make_item("b", units=100), make_item("c", units=50)]
    gained = [0.5 * 100, 0.2 * 50]
    expected = (gained[0] * 0.3 + gained[1] * 0.6) / sum(gained)
    assert add_cross_effects(items, cross)[0].cross_error == pytest.approx(expected)


def test_a_cut_is_charged_with_what_it_takes_from_its_neighbours():
    a, _, _ = family()
    alone = replace(a, cross_units=0.0, cross_revenue_minor=0.0, cross_profit_minor=0.0)
    whole, own = compare_price(a, 450), compare_price(alone, 450)
    move = np.log(450 / 500)
    assert whole.profit.p50 - own.profit.p50 == pytest.approx(0.5 * 100 * (400 - 150) * move)
    assert whole.units.p50 - own.units.p50 == pytest.approx(0.5 * 100 * move)
    assert whole.revenue.p50 - own.revenue.p50 == pytest.approx(0.5 * 100 * 400 * move)


def test_the_optimiser_raises_a_price_where_the_neighbours_profit_from_it():
    rules = PricingRules(endings=(), min_gain=0.0)
    steep = make_item(
        "a", elasticity=-3.0, cost=330.0
    )  # Lerner's price is 330 × 3 / 2 = 495: hardly worth a move
    (own,) = optimise_prices([steep], rules).suggestions
    (shared,) = optimise_prices([replace(steep, cross_profit_minor=8000.0)], rules).suggestions
    assert own.suggested_price_minor == 495
    assert shared.suggested_price_minor > 520
