"""What else moves units is told apart from the price: promotions, the family, seasons, costs,
zeros."""

from dataclasses import replace

import numpy as np
import pytest

from features.contracts.errors import BadInput
from models.pricing.response.controls import (
    average_other_weeks,
    measure_reductions,
    sum_over_nest,
)
from models.pricing.response.cross_weights import compute_cross_weights
from models.pricing.response.elasticity import ElasticityModel, predict_log_units
from models.pricing.response.fit import ElasticityConfig, fit_elasticities, fit_with_residuals
from models.pricing.response.group_regression import (
    Groups,
    Levels,
    estimate_common_movement,
    fit_nested_ridge,
)
from models.pricing.response.nests import build_nests
from models.pricing.response.placebo import fit_next_weeks_price, fit_permuted_prices
from tests.shops.price_panels import draw_price_panel, draw_regular_moves, make_price_panel

CONFIG = ElasticityConfig()
N_ITEMS, N_WEEKS = 60, 104


def world(seed=3, *, slope=-2.0, noise=0.05, n_items=N_ITEMS):
    """Log prices that move and are reduced, and log units that answer to them alone.

    (items, weeks) each.
    """
    rng = np.random.default_rng(seed)
    promoted = rng.random((n_items, N_WEEKS)) < 0.2
    price = np.log(500) - promoted * rng.uniform(0.1, 0.35, promoted.shape)
    price += draw_regular_moves(n_items, N_WEEKS, 6, rng)
    units = 3.5 + slope * (price - np.log(500)) + noise * rng.normal(size=promoted.shape)
    return rng, promoted, price, units


def test_a_display_that_comes_with_a_cut_is_not_taken_for_the_cut():
    rng, promoted, price, units = world()
    display = (promoted & (rng.random(promoted.shape) < 0.6)) * rng.uniform(
        0.5, 1.0, promoted.shape
    )
    data = make_price_panel(
        np.exp(price),
        np.exp(units + 0.8 * display),
        kinds=("display", "price"),
        reach=[display, promoted],
    )
    model = fit_elasticities(data, CONFIG)
    assert model.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.05)
    lifts = model.find_lifts(["i000", "nobody"], "default")
    assert set(lifts) == {"display"}  # a promotion of kind price is the announcement of its price
    assert lifts["display"][0] == pytest.approx(0.8, abs=0.05)
    assert np.isnan(lifts["display"][1])
    plain = fit_elasticities(make_price_panel(np.exp(price), np.exp(units + 0.8 * display)), CONFIG)
    # Without the calendar the reduction takes the display's part, never the regular price.
    assert plain.columns["announced"].mean() > 0.3
    assert plain.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.1)


def test_promotions_that_come_when_demand_is_high_anyway_do_not_fool_it():
    rng = np.random.default_rng(5)
    season = 0.4 * rng.normal(size=N_WEEKS)
    promoted = rng.normal(size=(N_ITEMS, N_WEEKS)) + 1.5 * season / 0.4 > 1.5
    price = np.log(500) - promoted * rng.uniform(0.1, 0.3, promoted.shape)
    price += draw_regular_moves(N_ITEMS, N_WEEKS, 6, rng)
    units = 3.5 - 2.0 * (price - np.log(500)) + season + 0.1 * rng.normal(size=promoted.shape)
    centred_price, centred_units = (
        values - values.mean(1, keepdims=True) for values in (price, units)
    )
    plain = (centred_price * centred_units).sum() / (centred_price**2).sum()
    model = fit_elasticities(make_price_panel(np.exp(price), np.exp(units)), CONFIG)
    assert plain < -3.0
    assert model.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.2)


def test_what_a_cut_takes_from_its_neighbours_is_found():
    _, _, price, units = world()
    family = np.repeat(np.arange(N_ITEMS // 3), 3)
    total = np.zeros((N_ITEMS // 3, N_WEEKS))
    np.add.at(total, family, price)
    others = (total[family] - price) / 2
    units = units + 0.6 * (others - np.log(500))
    data = make_price_panel(np.exp(price), np.exp(units), family=[f"f{k}" for k in family])
    model = fit_elasticities(data, CONFIG)
    assert model.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.05)
    cross = model.find_cross_elasticities(["i000", "i001", "i002", "i003", "nobody"], "default")
    pairs = set(zip(cross.units_of.tolist(), cross.price_of.tolist(), strict=True))
    assert pairs == {
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 2),
        (2, 0),
        (2, 1),
    }  # i003's family is not in the list
    assert cross.elasticity == pytest.approx(np.full(6, 0.3), abs=0.06)
    assert cross.elasticity[:2].sum() == pytest.approx(
        0.6, abs=0.08
    )  # of all others of i000's family together


def test_small_counts_are_counted_zeros_among_them():
    rng = np.random.default_rng(9)
    _, _, price, _ = world(n_items=400)
    mean = 2.0 * np.exp(-2.0 * (price - np.log(500)))
    units = rng.poisson(mean).astype(float)
    assert (units == 0).mean() > 0.05
    listed = fit_elasticities(
        make_price_panel(np.exp(price), units, listed=True), replace(CONFIG, noise=0.0)
    )
    paid = np.where(units > 0, price, np.nan)
    paid_only = fit_elasticities(make_price_panel(np.exp(paid), units), replace(CONFIG, noise=0.0))
    # Counts truncated at 0 lose nothing of the slope where logs of weeks with a sale would.
    for model in (listed, paid_only):
        assert model.columns["elasticity"].mean() == pytest.approx(-2.0, abs=0.1)


def test_costs_mend_what_promotions_in_good_weeks_of_single_items_spoil():
    rng = np.random.default_rng(11)
    shape = (N_ITEMS, 208)
    mood = 0.3 * rng.normal(size=shape)  # of single items: no other item tells of it
    cost = np.log(300) + np.cumsum(
        (rng.random(shape) < 0.08) * 0.12 * rng.normal(size=shape), axis=1
    )
    price = cost + 0.5 - 0.15 * (rng.normal(size=shape) + 2 * mood / 0.3 > 2)
    units = 3.5 - 2.0 * (price - np.log(500)) + mood + 0.1 * rng.normal(size=shape)
    # Every price is a regular one: the shop moves its list prices with the mood.
    panel = make_price_panel(np.exp(price), np.exp(units), list_price=np.exp(price))
    without = fit_elasticities(panel, CONFIG).columns["elasticity"].mean()
    model = fit_elasticities(replace(panel, log_cost=cost), CONFIG)
    assert without < -2.4
    assert abs(model.columns["elasticity"].mean() + 2.0) < 0.6 * abs(without + 2.0)
    assert (model.columns["error"] > 0).all()


def test_costs_that_prices_do_not_follow_change_nothing():
    rng, _, price, units = world()
    cost = np.exp(np.log(300) + np.cumsum(0.01 * rng.normal(size=price.shape), axis=1))
    without = fit_elasticities(make_price_panel(np.exp(price), np.exp(units)), CONFIG)
    model = fit_elasticities(make_price_panel(np.exp(price), np.exp(units), cost=cost), CONFIG)
    np.testing.assert_array_equal(model.columns["elasticity"], without.columns["elasticity"])


def test_placebos_find_nothing_where_there_is_nothing_and_something_where_there_is():
    _, _, price, units = world()
    fitted = fit_with_residuals(make_price_panel(np.exp(price), np.exp(units)), CONFIG)
    drawn = fit_permuted_prices(fitted, CONFIG, np.random.default_rng(1))
    following = fit_next_weeks_price(fitted)
    assert drawn.true_slope == pytest.approx(-2.0, abs=0.05)
    assert abs(drawn.slope) < 0.1 and not drawn.fails
    assert abs(following.slope) < 0.05 and not following.fails
    ahead = units.copy()
    ahead[:, :-1] += -1.0 * (price[:, 1:] - np.log(500))  # shoppers who know next week's price
    knowing = fit_next_weeks_price(
        fit_with_residuals(make_price_panel(np.exp(price), np.exp(ahead)), CONFIG)
    )
    assert knowing.slope == pytest.approx(-1.0, abs=0.2) and knowing.fails


def test_predicted_units_are_responses_times_treatments_and_effects_times_controls():
    _, promoted, price, units = world()
    display = promoted * 1.0
    data = make_price_panel(
        np.exp(price), np.exp(units + 0.5 * display), kinds=("display",), reach=[display]
    )
    model = fit_elasticities(data, CONFIG)
    by_price, by_all = predict_log_units(model, data)
    columns = model.columns
    reductions = data.log_list - data.log_price
    treatments = [data.log_list, -reductions, data.announced]
    names = ["elasticity", "depth", "announced"]
    expected = sum(
        columns[name][:, None] * treatment
        for name, treatment in zip(names, treatments, strict=True)
    )
    assert np.diff(by_price, axis=1) == pytest.approx(np.diff(expected, axis=1))
    controls = [display, shifted(display, 1), shifted(display, -1), shifted(reductions, 1)]
    by_hand = sum(
        columns["effects"][:, number, None] * control for number, control in enumerate(controls)
    )
    assert by_all - by_price == pytest.approx(by_hand)
    with pytest.raises(BadInput, match="other kinds"):
        predict_log_units(model, replace(data, kinds=("mailer",)))


def shifted(values, by):
    moved = np.zeros(values.shape)
    if by > 0:
        moved[:, by:] = values[:, :-by]
    else:
        moved[:, :by] = values[:, -by:]
    return moved


def test_common_movement_is_that_of_others_outside_the_family():
    data = make_price_panel(np.full((4, 1), 100.0), np.ones((4, 1)), family=["f", "f", "", ""])
    levels = Levels.from_panel(data, (1,))
    values, weights = np.array([[1.0], [2.0], [3.0], [5.0]]), np.ones((4, 1))
    # Variance 1 counts as one more week of 0. First the zone: (3 + 5) / (2 + 1), ..., (1 + 2 + 5) /
    # (3 + 1), ...
    zone = np.array([8 / 3, 8 / 3, 8 / 4, 6 / 4])
    rest = values[:, 0] - zone
    # Then the same of what is left, in the one category of all four.
    category = np.array(
        [rest[2:].sum() / 3, rest[2:].sum() / 3, rest[[0, 1, 3]].sum() / 4, rest[:3].sum() / 4]
    )
    assert estimate_common_movement(values, weights, levels, 1.0)[:, 0] == pytest.approx(
        zone + category
    )


def test_neighbours_count_by_their_pull():
    data = make_price_panel(np.full((3, 1), 100.0), np.ones((3, 1)), family=["f", "f", "f"])
    sums = sum_over_nest(
        np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]), build_nests(data)
    )
    assert sums[:, 0] == pytest.approx([2 * 2 + 3 * 4, 1 * 1 + 3 * 4, 1 * 1 + 2 * 2])


def test_pull_is_alike_but_for_small_sellers_or_by_what_an_item_sells():
    units = np.array([[9.0], [1.0], [7.0]])
    data = make_price_panel(np.full((3, 1), 100.0), units, family=["f", "f", ""])
    nests = build_nests(data)
    # One other each; the second sells a fifth of the mean of its family, .4 of half of it; the last
    # has nobody.
    assert compute_cross_weights(nests, "equal") == pytest.approx([1.0, 0.4, 1.0])
    assert compute_cross_weights(nests, "sales") == pytest.approx([0.9, 0.1, 1.0])


def family_world(pull, noise, share=(0.7, 0.2, 0.1)):
    """Fifty families of three items with shares of their sales.

    A family gains .9 of `pull` (3,) times a neighbour's price.
    """
    _, _, price, _ = world(n_items=150)
    family, pull, share = (
        np.repeat(np.arange(50), 3),
        np.tile(pull, 50),
        np.tile(share, 50),
    )
    gap = price - np.log(500)
    pulled = np.zeros((50, N_WEEKS))
    np.add.at(pulled, family, pull[:, None] * gap)
    rng = np.random.default_rng(3)
    units = 4.0 + np.log(share)[:, None] - 2.0 * gap + 0.9 * (pulled[family] - pull[:, None] * gap)
    units += noise * rng.normal(size=units.shape)
    data = make_price_panel(np.exp(price), np.exp(units), family=[f"f{k}" for k in family])
    cross = fit_elasticities(data, CONFIG).find_cross_elasticities(
        ["i000", "i001", "i002"], "default"
    )
    return {
        (units_of, price_of): elasticity
        for units_of, price_of, elasticity in zip(
            cross.units_of, cross.price_of, cross.elasticity, strict=True
        )
    }


def test_sales_tell_whether_a_large_item_pulls_more_than_a_small_one():
    by = family_world([0.7, 0.2, 0.1], noise=0.1)
    assert by[2, 0] == pytest.approx(
        0.9 * 0.7, abs=0.12
    )  # a dearer large item moves the small one,
    assert by[0, 2] == pytest.approx(0.9 * 0.1, abs=0.05)  # and hardly the other way round


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_or_all_pull_alike(noise):
    by = family_world([0.5, 0.5, 0.5], noise, [1 / 3] * 3)
    assert [by[2, 0], by[0, 2]] == pytest.approx([0.9 * 0.5] * 2, abs=0.2)
    assert by[2, 0] == pytest.approx(by[0, 2], rel=0.2)


def test_coefficients_are_least_squares_and_narrow_groups_depart_from_wide_ones():
    rng = np.random.default_rng(2)
    controls = rng.normal(size=(2, 40, 50))
    truth = np.where(np.arange(40)[:, None] < 20, [1.0, -1.0], [3.0, -1.0])
    target = np.einsum("sf,fsw->sw", truth, controls)
    groups = [Groups.from_values(np.zeros(40)), Groups.from_values(np.arange(40) // 20)]
    coefficients = fit_nested_ridge(controls, target[None], np.ones((40, 50)), groups, 1e-9)[0]
    assert coefficients == pytest.approx(truth, abs=1e-6)


def test_usual_prices_and_weeks_around():
    price = np.log([[200.0, 200.0, 100.0, 200.0, 200.0], [np.nan, 300.0, np.nan, 150.0, 300.0]])
    panel = make_price_panel(np.exp(price), np.ones(price.shape))
    assert measure_reductions(panel) == pytest.approx(
        np.array([[0, 0, np.log(2), 0, 0], [0, 0, 0, np.log(2), 0]])
    )
    # Half after a week: 4.5 and 1 of weights .5 and .25; 1 and 2 of weights .5 and .5; and in each
    # one more week of 0.
    expected = [[(4.5 + 1) / 1.75, (1 + 2) / 2, (0.5 + 4.5) / 1.75]]
    assert average_other_weeks(
        np.array([[2.0, 9.0, 4.0]]), np.ones((1, 3)), 1 / np.log(2)
    ) == pytest.approx(np.array(expected))


def test_a_saved_model_keeps_lifts_and_cross_effects(tmp_path):
    data = draw_price_panel(np.linspace(-3, -1, 20))
    rng = np.random.default_rng(4)
    display = (rng.random(data.units.shape) < 0.1) * 1.0
    data = replace(
        data, kinds=("display",), reach=display[None], family=np.array(["a", "b"] * 10, object)
    )
    model = fit_elasticities(data, CONFIG)
    model.save(tmp_path)
    again = ElasticityModel.load(tmp_path)
    items = data.item_ids.tolist()
    np.testing.assert_array_equal(
        again.find_lifts(items, "default")["display"], model.find_lifts(items, "default")["display"]
    )
    np.testing.assert_array_equal(
        again.find_cross_elasticities(items, "default").elasticity,
        model.find_cross_elasticities(items, "default").elasticity,
    )
    assert len(model.find_cross_elasticities(items, "default").units_of) == 2 * 10 * 9
