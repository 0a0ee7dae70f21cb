"""Who competes with whom, what choosing shoppers take from each other, what margins imply."""

from dataclasses import replace

import numpy as np
import pytest

from models.pricing.response.choice_form import (
    compute_inclusive_values,
    sum_attraction,
)
from models.pricing.response.elasticity import CHOICE, CrossElasticities
from models.pricing.response.fit import ElasticityConfig, fit_elasticities
from models.pricing.response.margins import UsualProfits
from models.pricing.response.nest_gains import NestGains
from models.pricing.response.nests import build_nests
from tests.shops.price_panels import draw_regular_moves, make_price_panel

CONFIG = ElasticityConfig()


def make_panel(units, **more):
    """A panel of one week in which every item costs 1."""
    units = np.asarray(units, float)[:, None]
    return make_price_panel(np.full(units.shape, 100.0), units, **more)


def test_families_are_nests_and_the_rest_of_a_category_is_one():
    panel = make_panel(
        [3, 1, 2, 2, 5, 4, 1],
        family=["f", "f", "alone", "", "", "f", "g"],
        category=["Tea", "Tea", "Tea", "Tea", "Milk", "Tea", "Tea"],
        zones=["north"] * 5 + ["south"] * 2,
    )
    nests = build_nests(panel)
    # Two of family f in the north; the rest of the category there; milk has nobody beside it. In
    # the south each family has one member, and both are tea.
    assert nests.names.tolist() == [
        "family f",
        "family f",
        "rest of Tea, price tier 1",
        "rest of Tea, price tier 1",
        "",
        "rest of Tea, price tier 1",
        "rest of Tea, price tier 1",
    ]
    assert nests.declared.tolist() == [True, True, False, False, False, False, False]
    assert nests.nested.tolist() == [True] * 4 + [False] + [True] * 2
    assert nests.share == pytest.approx([3 / 4, 1 / 4, 1 / 2, 1 / 2, 1, 4 / 5, 1 / 5])
    assert nests.groups.codes[2] != nests.groups.codes[5]  # zones do not compete


def test_shoppers_who_choose_leave_to_the_nest_what_the_own_slope_drives_away():
    nests = build_nests(make_panel([3, 1, 5], family=["f", "f", ""]))
    n, zero = 3, np.zeros(3)
    gains = NestGains(
        nests=nests,
        kept=np.ones((n, 3)),
        inside=np.full(n, 0.4),
        inside_regular=np.full(n, 0.4),
        cross_weights=zero,
        pulls=np.zeros((n, 3)),
        received=np.ones(n),
        relative_error=zero,
        moved=zero,
    )
    slopes, errors = np.full(n, -2.0), np.full(n, 0.5)
    sent, by_own, _, alone = gains.find_cross(slopes, errors)
    # 2 × .4 of the shoppers × the share of the item; nothing without a nest.
    assert sent == pytest.approx([0.6, 0.2, 0.0])
    assert by_own == pytest.approx([-0.25, -0.25, 0.0])
    less_steep = gains.find_cross(slopes + errors, errors)[0]
    assert less_steep == pytest.approx(sent * (1 + by_own))
    assert alone[2] == 0.0
    # Where the nest gains so much of any price, the own slope says nothing of it.
    fixed = replace(gains, inside_regular=zero, cross_weights=np.full(n, 0.3))
    assert fixed.find_cross(slopes, errors)[1].tolist() == [0.0, 0.0, 0.0]


def test_items_without_family_and_category_are_alone():
    nests = build_nests(make_panel([3, 1]))
    assert nests.names.tolist() == ["", ""]
    assert not nests.nested.any()
    assert nests.share.tolist() == [1.0, 1.0]


def test_items_of_no_family_compete_with_those_of_about_their_price():
    price = np.array([[100.0], [130.0], [900.0], [600.0], [1000.0], [250.0]])
    nests = build_nests(make_price_panel(price, np.ones(price.shape), category=["Tea"] * 6))
    tiers = [name[-1] for name in nests.names.tolist()]
    # The one of 250 would be alone, and is nearer to 130 than to 600.
    assert tiers == ["1", "1", "2", "2", "2", "1"]


def draw_promoted_families(pull, *, n_families=30, n_weeks=60):
    """A panel of families of three equal items; `pull` (3,) is what treatments of the others do."""
    rng = np.random.default_rng(4)
    n = 3 * n_families
    family = np.repeat(np.arange(n_families), 3)
    announced = (rng.random((n, n_weeks)) < 0.15) * 1.0
    depth = -announced * rng.uniform(0.1, 0.35, (n, n_weeks))
    regular = draw_regular_moves(n, n_weeks, 6, rng)
    treatments = np.stack([regular, depth, announced])
    total = np.zeros((3, n_families, n_weeks))
    for of_treatment, values in zip(total, treatments, strict=True):
        np.add.at(of_treatment, family, values)
    of_others = (total[:, family] - treatments) / 3
    log_units = 5.0 + np.einsum("k,ksw->sw", [-2.0, -3.0, 0.3], treatments)
    log_units += np.einsum("k,ksw->sw", pull, of_others)
    log_units += 0.05 * rng.normal(size=log_units.shape)
    return make_price_panel(
        np.exp(regular + depth + np.log(500)),
        np.exp(log_units),
        family=[f"f{number}" for number in family],
        list_price=np.exp(regular + np.log(500)),
        kinds=("price",),
        reach=[announced],
        listed=True,
    )


def test_what_promotions_take_from_a_family_is_not_what_a_regular_price_takes():
    model = fit_elasticities(draw_promoted_families([0.3, 2.0, -0.3]), CONFIG)
    cross = model.find_cross_elasticities(["i000", "i001", "i002"], "default")
    assert cross.elasticity == pytest.approx(np.full(6, 0.3 / 3), abs=0.07)
    assert (cross.error * cross.elasticity > 0.02).all()


def test_a_nest_gains_what_an_item_usually_loses_to_it_whatever_the_forecasts():
    cross = CrossElasticities(
        units_of=np.array([1]),
        price_of=np.array([0]),
        elasticity=np.array([0.1]),
        error=np.zeros(1),
        usual_ratio=np.array([4.0]),
    )
    # The other one sells 4 times as much: per unit of log price .4 units for each one of the item.
    assert cross.move_units(np.array([10.0, 1000.0])) == pytest.approx([0.1 * 4 * 10])
    unknown = replace(cross, usual_ratio=None)
    assert unknown.move_units(np.array([10.0, 1000.0])) == pytest.approx([0.1 * 1000])


def test_inclusive_values_by_hand():
    nests = build_nests(make_panel([3, 1, 2], family=["f", "f", ""]))
    utility = np.array([[0.5], [-0.2], [0.7]])
    attraction = 0.75 * (np.exp(0.5) - 1) + 0.25 * (np.exp(-0.2) - 1)
    assert sum_attraction(nests, utility)[:2, 0] == pytest.approx([attraction] * 2)
    inside = np.array([0.6, 0.6, 0.0])
    expected = [np.log(1 + 0.6 * attraction)] * 2 + [0.0]
    assert compute_inclusive_values(nests, inside, utility)[:, 0] == pytest.approx(expected)
    # The derivative by the utility of the first: inside × its share, of all in the nest.
    small = np.array([[1e-6], [0.0], [0.0]])
    moved = compute_inclusive_values(nests, inside, small)[:2, 0]
    assert moved / 1e-6 == pytest.approx([0.6 * 0.75] * 2, rel=1e-4)


def draw_choices(inside, *, n_families=40, n_weeks=104, slope=-2.5, seed=3):
    """A panel of families of three whose shoppers choose one item or none by a logit."""
    rng = np.random.default_rng(seed)
    n = 3 * n_families
    family = np.repeat(np.arange(n_families), 3)
    share = np.tile([0.5, 0.3, 0.2], n_families)[:, None]
    reduced = rng.random((n, n_weeks)) < 0.15
    regular = draw_regular_moves(n, n_weeks, 6, rng)
    price = regular - reduced * rng.uniform(0.1, 0.35, (n, n_weeks))
    attraction = share * np.exp(slope * price)
    total = np.zeros((n_families, n_weeks))
    np.add.at(total, family, attraction)
    expected = 200 * attraction / (inside * total[family] + 1 - inside)
    units = rng.poisson(expected * np.exp(0.05 * rng.normal(size=expected.shape)))
    return make_price_panel(
        np.exp(price + np.log(500)),
        units,
        family=[f"f{number}" for number in family],
        category=["Food > Tea"] * n,
        list_price=np.exp(regular + np.log(500)),
        listed=True,
    )


def test_the_share_of_shoppers_who_buy_is_found_in_a_shop_of_choosers():
    model = fit_elasticities(draw_choices(0.6), CONFIG)
    assert model.form == CHOICE
    assert model.columns["inside"] == pytest.approx(np.full(120, 0.6), abs=0.1)
    # Own: slope × (1 - inside × share); cross of j on any other: -slope × inside × share of j.
    share = np.tile([0.5, 0.3, 0.2], 40)
    own = model.columns["elasticity"].reshape(40, 3).mean(0)
    assert own == pytest.approx(-2.5 * (1 - 0.6 * share[:3]), abs=0.15)
    cross = model.find_cross_elasticities(["i000", "i001", "i002"], "default")
    expected = 2.5 * 0.6 * share[cross.price_of]
    assert cross.elasticity == pytest.approx(expected, abs=0.2)
    assert (cross.error > 0).all()


def make_profits(margin, units, price=100.0, **more):
    """Usual profits of items that all cost `price`, and their nests."""
    panel = replace(make_panel(units, **more), margin=np.asarray(margin, float))
    nests = build_nests(panel)
    profits = UsualProfits.measure(panel, nests)
    assert profits is not None
    return profits, nests


def test_a_margin_of_a_third_implies_a_slope_of_minus_three():
    # Lerner: margin = -1 / slope.
    profits, _ = make_profits([1 / 3, 0.25, np.nan], [4, 4, 9])
    groups = np.array([0, 1, 2])
    slopes = profits.imply_slopes(groups, np.ones(3), np.zeros(3))
    assert slopes[:2] == pytest.approx([-3.0, -4.0])
    assert np.isnan(slopes[2])


def test_groups_weigh_margins_by_revenue():
    profits, _ = make_profits([0.5, 0.2], [30, 10])
    (slope,) = profits.imply_slopes(np.array([0, 0]), np.ones(2), np.zeros(2))
    assert slope == pytest.approx(-1 / (0.5 * 0.75 + 0.2 * 0.25))


def test_what_the_nest_gains_makes_the_implied_slope_steeper():
    profits, _ = make_profits([0.5], [10])
    groups = np.array([0])
    # margin × (slope × kept + gained) = -1
    (slope,) = profits.imply_slopes(groups, np.array([0.8]), np.array([0.3]))
    assert 0.5 * (slope * 0.8 + 0.3) == pytest.approx(-1.0)


def test_profits_of_the_others_of_a_nest_over_the_own_ones():
    profits, nests = make_profits([0.5, 0.2, 0.3], [10, 20, 7], family=["f", "f", ""])
    # Profits 5, 4, 2.1 per unit of price.
    assert profits.sum_of_others(np.ones(3), nests) == pytest.approx([4 / 5, 5 / 4, 0.0])


def test_without_costs_there_are_no_usual_profits():
    panel = make_panel([1, 2])
    assert UsualProfits.measure(panel, build_nests(panel)) is None
    unknown = replace(panel, margin=np.full(2, np.nan))
    assert UsualProfits.measure(unknown, build_nests(panel)) is None
