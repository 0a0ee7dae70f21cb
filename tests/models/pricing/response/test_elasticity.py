from dataclasses import replace

import numpy as np
import pytest

from features.contracts.errors import BadInput
from features.contracts.pricing import EvidenceGrade
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.fit import ElasticityConfig, fit_elasticities, fit_with_residuals
from tests.shops.price_panels import draw_price_panel, make_price_panel

CONFIG = ElasticityConfig()


def test_known_elasticities_are_recovered_within_their_stated_errors():
    truth = np.random.default_rng(2).normal(-2.0, 0.5, 60)
    model = fit_elasticities(draw_price_panel(truth, regular_moves=6), CONFIG)
    error = model.columns["elasticity"] - truth
    assert np.abs(error).mean() < 0.15
    # 95 % of a normal lies within 1.96 standard errors; 60 draws: at least 51 with p > .99
    assert (np.abs(error) < 1.96 * model.columns["error"]).sum() >= 51


def test_without_moves_of_the_list_price_depth_is_recovered_and_the_rest_is_uncertain():
    truth = np.random.default_rng(2).normal(-2.0, 0.5, 60)
    columns = fit_elasticities(draw_price_panel(truth, lift=0.26), CONFIG).columns
    # A reduction of 10 to 40 %: what it does is depth and step together.
    whole = columns["depth"] * np.log(0.75) + columns["announced"]
    assert np.abs(whole - truth * np.log(0.75) - 0.26).mean() < 0.1
    assert columns["announced"].mean() == pytest.approx(0.26, abs=0.08)
    assert (columns["error"] > 0.25).all()
    assert (np.abs(columns["elasticity"] - truth) < 1.96 * columns["error"]).sum() >= 51


def test_shrunken_slopes_are_nearer_the_truth_than_own_ones_where_data_are_noisy():
    truth = np.random.default_rng(2).normal(-2.0, 0.3, 100)
    model = fit_elasticities(
        draw_price_panel(truth, n_weeks=20, noise=0.8, regular_moves=2), CONFIG
    )
    own, shrunk = model.columns["own"] - truth, model.columns["elasticity"] - truth
    assert np.square(shrunk).mean() < 0.6 * np.square(own).mean()


def test_one_exact_item_gives_its_exact_slope():
    # One item: ln q = 12 - 2 ln p without noise; nobody else moves, and no week depends on another.
    price = np.exp(np.random.default_rng(7).uniform(4.4, 4.6, (1, 200)))
    panel = make_price_panel(price, np.exp(12 - 2 * np.log(price)), list_price=price)
    columns = fit_with_residuals(panel, CONFIG).model.columns
    assert columns["own"] == pytest.approx([-2.0], abs=0.01)


def test_a_common_movement_is_no_response_to_price():
    truth = np.full(80, -2.0)
    calm, shaken = (
        fit_elasticities(draw_price_panel(truth, shock=shock), CONFIG) for shock in (0.0, 1.0)
    )
    assert shaken.columns["elasticity"] == pytest.approx(calm.columns["elasticity"], abs=0.1)


def test_zones_have_slopes_of_their_own():
    slopes = np.array([-1.0, -3.0] * 20)
    both = draw_price_panel(slopes, zones=("north", "south"), regular_moves=6)
    # In the south nobody buys less when prices rise: the slope in the north must not move.
    units = np.where((both.zones == "south")[:, None], np.exp(4.0), both.units)
    model = fit_elasticities(replace(both, units=units), CONFIG)
    items = [f"i{k:03}" for k in range(40)]
    assert model.find_response(items, "north").elasticity.mean() == pytest.approx(-2.0, abs=0.4)
    assert model.find_response(items, "south").elasticity.mean() > -1.2


def find_grades(panel):
    return set(fit_elasticities(panel, CONFIG).find_response(panel.item_ids, "default").grade)


def test_grades_follow_the_evidence_of_regular_prices():
    truth = np.full(12, -2.0)
    assert find_grades(draw_price_panel(truth, n_weeks=104, regular_moves=7)) == {EvidenceGrade.A}
    assert find_grades(draw_price_panel(truth, regular_moves=2)) == {EvidenceGrade.B}
    assert find_grades(draw_price_panel(truth)) <= {EvidenceGrade.C, EvidenceGrade.D}
    little = draw_price_panel(truth, n_weeks=9, noise=0.9, regular_moves=1)
    assert find_grades(little) <= {EvidenceGrade.C, EvidenceGrade.D}
    still = draw_price_panel(truth)
    constant = np.full(still.units.shape, np.log(500.0))
    still = replace(still, log_price=constant, log_list=constant, announced=0 * constant)
    assert find_grades(still) <= {EvidenceGrade.C, EvidenceGrade.D}
    upward = draw_price_panel(np.full(12, 1.0), regular_moves=6)
    assert find_grades(upward) == {EvidenceGrade.D}


def test_the_range_tried_is_that_of_the_prices_paid():
    one = draw_price_panel(np.full(3, -2.0))
    model = fit_elasticities(one, CONFIG)
    prices = np.exp(one.log_price[0])
    response = model.find_response(["i000"], "default")
    assert prices.min() <= response.lowest_minor[0] < response.highest_minor[0] <= prices.max()


def test_unknown_items_and_zones_have_no_evidence():
    panel = draw_price_panel(np.full(20, -2.0), regular_moves=6)
    model = fit_elasticities(panel, CONFIG)
    response = model.find_response(["nobody", "i001"], "default")
    assert response.grade[0] is EvidenceGrade.D
    assert np.isnan(response.elasticity[0]) and np.isnan(response.lowest_minor[0])
    assert response.elasticity[1] == pytest.approx(-2.0, abs=0.2)
    reduction = model.find_reduction_response(["nobody", "i001"], "default")
    assert np.isnan(reduction.depth[0]) and np.isnan(reduction.announced_error[0])
    assert reduction.depth[1] == pytest.approx(-2.0, abs=0.4)
    assert model.find_response(["i001"], "moon").grade == [EvidenceGrade.D]


def test_refit_equals_fit_and_a_saved_model_is_the_same(tmp_path):
    data = draw_price_panel(np.linspace(-3, -1, 20), zones=("north", "süd"))
    first, second = fit_elasticities(data, CONFIG), fit_elasticities(data, CONFIG)
    first.save(tmp_path)
    for other in (second, ElasticityModel.load(tmp_path)):
        assert other.item_ids.tolist() == first.item_ids.tolist()
        assert other.zones.tolist() == first.zones.tolist()
        assert set(other.columns) == set(first.columns)
        for name, values in first.columns.items():
            np.testing.assert_array_equal(other.columns[name], values)


def test_too_little_history_is_bad_input():
    with pytest.raises(BadInput, match="8 weeks"):
        fit_elasticities(draw_price_panel(np.full(3, -2.0), n_weeks=5), CONFIG)
