"""What makes a simulated shop harder: each parameter alone, and the world that has all of them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from configs.settings import Settings
from experiments.simulator.list_prices import hold_prices
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import SimulatedShop, simulate_shop
from experiments.simulator.tables import build_tables, describe_truth, end_of_history, write_shop
from experiments.simulator.worlds import VARIED, WORLDS, build_parameters
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.sources.folder import import_folder

STANDARD = ShopParameters(n_shoppers=60)
FORMS = ("loglinear", "choice")


def shop(seed: int = 4, **changes: object) -> SimulatedShop:
    return simulate_shop(replace(STANDARD, **changes), generator(seed, "simulated shop"))


def own(simulated: SimulatedShop) -> np.ndarray:
    return np.diag(simulated.compute_elasticities())


def log_regular(simulated: SimulatedShop) -> np.ndarray:
    return np.log(simulated.plan.regular)


def test_a_regular_price_moves_demand_by_its_share_of_what_depth_does():
    one, two = shop(), shop(regular_share=0.5)
    np.testing.assert_array_equal(one.plan.offer, two.plan.offer)
    assert own(two) == pytest.approx(0.5 * own(one))
    assert two.compute_depth_elasticities() == pytest.approx(own(one))
    # slope × ln (offer / reference) becomes .5 slope × ln (regular / reference) + slope × ln (offer
    # / regular): what is missing is half of the slope on the regular price.
    missing = -0.5 * own(one)[:, None] * (log_regular(one) - one.demand.reference[:, None])
    assert np.log(two.expected / one.expected) == pytest.approx(missing)


def test_shares_spread_by_item_and_stay_between_two_fifths_and_one():
    share = shop(regular_share=0.7, regular_share_spread=0.15).customers.regular_share
    assert share.mean() == pytest.approx(0.7, abs=0.05)  # 96 items: standard error .015
    assert share.std() == pytest.approx(0.14, abs=0.03)
    wide = shop(regular_share=0.7, regular_share_spread=0.5).customers.regular_share
    assert (wide.min(), wide.max()) == (0.4, 1.0)


@pytest.mark.parametrize("form", FORMS)
def test_an_announced_reduction_lifts_sales_beside_its_depth(form):
    quiet, loud = shop(form=form), shop(form=form, announcement=0.26, announcement_spread=0.1)
    lift = loud.customers.announcement
    assert lift.mean() == pytest.approx(0.26, abs=0.06)  # six categories of spread .07
    assert lift.std() == pytest.approx(0.1, abs=0.04)
    np.testing.assert_array_equal(loud.plan.announced, loud.plan.offer < loud.plan.regular)
    ratio = np.log(loud.expected / quiet.expected)
    if form == "loglinear":
        assert ratio == pytest.approx(lift[:, None] * loud.plan.announced)
        assert loud.compute_announcement_lifts() == pytest.approx(lift)
    else:  # the utility rises by the lift; some of the shoppers would have bought the item anyway
        assert (loud.compute_announcement_lifts() <= lift + 1e-9).all()
        assert loud.compute_announcement_lifts().mean() < 0.95 * lift.mean()
        assert (ratio <= lift[:, None] * loud.plan.announced + 1e-9).all()
    np.testing.assert_array_equal(own(loud), own(quiet))


def test_an_unannounced_reduction_is_in_the_prices_and_in_no_calendar():
    simulated = shop(n_weeks=52, unannounced=0.4, announcement=0.3)
    reduced = simulated.plan.offer < simulated.plan.regular
    assert simulated.plan.announced[reduced].mean() == pytest.approx(0.6, abs=0.06)
    assert not simulated.plan.announced[~reduced].any()
    tables = build_tables(simulated, generator(1, "shoppers"), clicks=False)
    rows = [row for row in tables["promotions"].to_pylist() if row["kind"] == "price"]
    assert len(rows) == simulated.plan.announced.sum()
    named = {
        row["promotion_id"] for row in tables["price_history"].to_pylist() if row["promotion_id"]
    }
    assert named <= {row["promotion_id"] for row in rows}
    unnamed = [
        row
        for row in tables["price_history"].to_pylist()
        if row["offer_price"] < row["list_price"] and not row["promotion_id"]
    ]
    assert unnamed


def test_what_customers_keep_at_home_lasts_for_weeks():
    parameters = replace(STANDARD, dip=0.5, dip_memory=0.5)
    plan = shop().plan
    depth = np.zeros_like(plan.depth)
    depth[0, 3] = 0.2
    nothing = np.zeros_like(depth)
    alone = replace(plan, depth=depth, display=nothing, mailer=nothing, coupon=nothing)
    push = alone.compute_push(parameters)
    assert push[0, 3:8] == pytest.approx([0, -0.1, -0.05, -0.025, -0.0125])
    assert alone.compute_push(replace(parameters, dip_memory=0.0))[0, 3:6] == pytest.approx(
        [0, -0.1, 0]
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_price_that_stays_is_compared_with_itself(form):
    memory = {"reference_gain": 0.4, "reference_loss": 0.8}
    plain, remembering = shop(form=form), shop(form=form, **memory)
    prices = plain.current_minor[:, None] * np.array([0.9, 1.0, 1.1])
    np.testing.assert_array_equal(plain.predict_units(prices), remembering.predict_units(prices))
    if form == "loglinear":
        dearer = np.zeros(96)
        dearer[5] = 0.1
        response = np.log(remembering.compute_past_units(dearer) / remembering.expected)[5]
        assert response == pytest.approx(np.full(104, 0.1 * own(remembering)[5]))
        steeper = remembering.compute_first_week_elasticities() - own(remembering)
        assert steeper == pytest.approx(np.full(96, -0.6))
    # A reduction gains beside its depth, and the week after it loses.
    change = np.log(remembering.expected / plain.expected)[:, 1:]
    reduced = plain.plan.depth > 0
    assert change[reduced[:, 1:]].mean() > 0.02
    assert change[reduced[:, :-1] & ~reduced[:, 1:]].mean() < -0.005


def correlate_foresight(simulated: SimulatedShop) -> float:
    """Return the correlation of changes of regular prices with a change in demand after them."""
    changes = np.diff(log_regular(simulated), axis=1)
    demand = np.log(simulated.demand_factors.past)
    after = np.stack([demand[:, week : week + 8].mean(1) for week in range(1, 97)], axis=1)
    before = np.stack([demand[:, max(week - 8, 0) : week].mean(1) for week in range(1, 97)], axis=1)
    moved = changes[:, :96] != 0
    return float(np.corrcoef(changes[:, :96][moved], (after - before)[moved])[0, 1])


def test_regular_prices_may_foresee_demand():
    assert abs(correlate_foresight(shop(cost_steps=0.0))) < 0.12  # about 400 changes
    assert correlate_foresight(shop(cost_steps=0.0, price_foresight=0.6)) > 0.2
    np.testing.assert_array_equal(
        shop(price_foresight=0.6, confounded=False).plan.regular,
        shop(confounded=False).plan.regular,
    )


def test_promotions_foresee_what_moves_an_item_alone():
    plain = shop(seed=1)
    shocked = shop(seed=1, item_shock=0.3, foresight=0.8)
    shock = np.log(shocked.demand_factors.past / plain.demand_factors.past)
    assert shock.std() == pytest.approx(0.3, abs=0.03)
    promoted = shocked.plan.depth > 0
    assert shock[promoted].mean() - shock[~promoted].mean() > 0.1
    assert np.corrcoef(shock[0, 1:], shock[0, :-1])[0, 1] == pytest.approx(0.5, abs=0.25)


def test_tastes_drift_towards_those_of_the_last_week():
    plain = shop(confounded=False)
    drifting = shop(confounded=False, level_drift=0.2, slope_drift=0.1)
    level = np.log(drifting.demand_factors.past / plain.demand_factors.past)
    assert level[:, -1] == pytest.approx(np.zeros(96))
    assert level[:, -53].std() == pytest.approx(0.2, abs=0.05)  # a year before
    walk = drifting.customers.slope_walk
    assert walk[:, -1] == pytest.approx(np.zeros(96))
    assert walk[:, -53].std() == pytest.approx(0.1, abs=0.025)
    np.testing.assert_array_equal(own(plain), own(drifting))
    # The slope on the price of a week is the last one times exp(walk).
    gap = np.log(plain.plan.offer) - plain.demand.reference[:, None]
    expected = level + own(plain)[:, None] * np.expm1(walk) * gap
    assert np.log(drifting.expected / plain.expected) == pytest.approx(expected)


@pytest.mark.parametrize("form", FORMS)
def test_slow_items_sell_the_units_they_were_given(form):
    simulated = shop(form=form, slow_share=0.4, slow_units=(0.5, 3.0))
    reference = np.exp(simulated.demand.reference)[:, None]
    units = simulated.demand.units(np.log(reference), np.zeros((96, 1)))[:, 0]
    before = shop(form=form).demand.units(np.log(reference), np.zeros((96, 1)))[:, 0]
    slow = ~np.isclose(units, before)
    assert slow.mean() == pytest.approx(0.4, abs=0.12)
    assert 0.5 <= units[slow].min() < 0.9
    assert 2.0 < units[slow].max() <= 3.0
    assert (simulated.units.mean(1) < 1).any()


def test_families_that_nobody_names_are_families_still():
    nameless = shop(unknown_families=1.0)
    items = build_tables(nameless, generator(1, "shoppers"), clicks=False)["items"]
    assert "family_id" not in items.column_names
    assert {path.count(">") for path in items["category"].to_pylist()} == {1}
    np.testing.assert_array_equal(nameless.compute_elasticities(), shop().compute_elasticities())
    half = build_tables(shop(unknown_families=0.5), generator(1, "shoppers"), clicks=False)["items"]
    ids = half["family_id"].to_pylist()
    assert 0.2 < np.mean([family_id is None for family_id in ids]) < 0.8
    for path, family_id in zip(half["category"].to_pylist(), ids, strict=True):
        assert ("Family" in path) == (family_id is not None)


@pytest.mark.parametrize("form", FORMS)
def test_a_competitor_takes_customers_and_moves_with_costs(form):
    alone, watched = shop(form=form), shop(form=form, competitor=0.4, competitor_seen=0.25)
    gap = watched.plan.competitor_gap
    ratio = np.log(watched.expected / alone.expected)
    if form == "loglinear":
        assert ratio == pytest.approx(0.4 * gap)
    prices = watched.current_minor[:, None]
    ahead = np.log(watched.predict_units(prices) / alone.predict_units(prices))[:, 0]
    assert np.corrcoef(ahead, gap[:, -1])[0, 1] > 0.8
    if form == "loglinear":
        assert ahead == pytest.approx(0.4 * gap[:, -1])
        np.testing.assert_array_equal(own(alone), own(watched))
    prices_move_together = np.corrcoef(
        log_regular(watched)[:, -1], np.log(watched.plan.cost)[:, -1]
    )
    assert prices_move_together[0, 1] > 0.5
    tables = build_tables(watched, generator(1, "shoppers"), clicks=False)
    rows = tables["competitor_prices"].to_pylist()
    assert len({row["item_id"] for row in rows}) == 24
    assert len(rows) == 24 * 104
    assert "competitor_prices" not in build_tables(alone, generator(1, "shoppers"), clicks=False)


def test_regular_prices_follow_a_share_of_the_competitors_own_moves():
    still = {"cost_steps": 0.0, "price_steps": 0.0}
    assert (np.diff(shop(**still).plan.regular) == 0).all()
    following = shop(**still, competitor=0.3, competitor_match=0.5, competitor_spread=0.2)
    own_move = np.log(following.plan.regular / following.plan.regular[:, :1])
    slope = (own_move * following.plan.competitor_gap).sum() / (
        following.plan.competitor_gap**2
    ).sum()
    assert slope == pytest.approx(0.5, abs=0.05)


def test_costs_of_a_category_move_together():
    simulated = shop(cost_steps=0.0, cost_rounds=0.03, cost_round_size=(0.05, 0.0))
    cost = np.log(simulated.plan.cost / simulated.plan.cost[:, :1])
    category = simulated.catalogue.category
    for code in range(6):
        spread = cost[category == code].std(0)
        assert spread.max() < 0.01  # cents are whole
    steps = cost[simulated.plan.cost[:, 0] > 100, -1] / 0.05
    assert steps == pytest.approx(np.rint(steps), abs=0.2)
    assert 1 < steps.mean() < 6  # expected: .03 × 103


def test_regular_prices_move_seldom_and_some_never():
    held = hold_prices(np.array([[0.0, 0.029, 0.031, 0.0, -0.3, -0.3]]), 0.03, 0.14)
    assert held.ravel() == pytest.approx([0, 0, 0.031, 0, -0.14, -0.28])
    simulated = shop(price_stickiness=0.03, never_repriced=0.3)
    n_changes = (np.diff(simulated.plan.regular) != 0).sum(1)
    assert (n_changes == 0).mean() == pytest.approx(0.3, abs=0.12)
    assert n_changes.sum() < (np.diff(shop(never_repriced=0.3).plan.regular) != 0).sum()


def test_deliveries_fall_short_more_often_in_promotions():
    simulated = shop(stock_outs=0.1, short_promotions=3.0)
    out = simulated.units == simulated.available
    reduced = simulated.plan.depth > 0
    assert out[reduced].mean() > 2 * out[~reduced].mean()


def test_the_real_world_switches_everything_on():
    off = ShopParameters()
    names = [field.name for field in fields(ShopParameters)]
    added = set(names[names.index("regular_share") :])
    shapes = {
        "reference_memory",
        "item_shock_memory",
        "slow_units",
        "competitor_steps",
        "competitor_spread",
        "cost_round_size",
        "largest_change",
    }
    real = WORLDS["real"]("choice")
    same = {name for name in added if getattr(real, name) == getattr(off, name)}
    assert same == shapes
    assert WORLDS["standard"]("choice") == ShopParameters(form="choice")


def test_every_shop_of_the_varied_world_has_its_own_parameters():
    worlds = [build_parameters(VARIED, "choice", seed) for seed in range(1, 41)]
    assert build_parameters(VARIED, "choice", 1) == worlds[0]
    shares = np.array([world.regular_share for world in worlds])
    assert len(set(shares)) == 40
    assert shares.mean() == pytest.approx(0.7, abs=0.08)  # uniform from .45 to .95, of 40
    assert 0.45 <= shares.min() < 0.55 < 0.85 < shares.max() <= 0.95
    assert {world.n_weeks for world in worlds} == {78, 104, 156}
    assert build_parameters("real", "choice", 1) == WORLDS["real"]("choice")
    with pytest.raises(BadInput, match="no world is called 'flat'"):
        build_parameters("flat", "choice", 1)


@pytest.mark.parametrize("form", FORMS)
def test_regular_prices_of_the_real_world_move_one_to_four_times_a_year(form):
    moves, sizes = [], []
    for seed in range(1, 6):
        plan = simulate_shop(WORLDS["real"](form), generator(seed, "simulated shop")).plan
        changes = np.diff(np.log(plan.regular))
        moves.append((changes != 0).sum(1) / 2)
        sizes.append(np.abs(changes[changes != 0]))
    per_year, size = np.concatenate(moves), np.concatenate(sizes)
    assert (per_year == 0).mean() == pytest.approx(0.2, abs=0.08)
    typical = np.quantile(per_year[per_year > 0], [0.1, 0.9])
    assert typical[0] >= 0.5
    assert typical[1] <= 4
    assert np.quantile(size, 0.1) >= 0.03
    assert np.quantile(size, 0.9) <= 0.15


@pytest.mark.parametrize("costs", [True, False])
def test_the_real_world_is_imported_whole(tmp_path, costs):
    parameters = replace(
        WORLDS["real"]("choice"), n_families=2, family_size=3, n_weeks=30, n_shoppers=60
    )
    simulated = simulate_shop(parameters, generator(3, "simulated shop"))
    rows = write_shop(tmp_path / "out", simulated, generator(3, "shoppers"), costs=costs)
    assert ("costs" in rows) == costs
    facts = Facts(Settings(home=tmp_path / "home", database_url=None))
    report = import_folder(
        tmp_path / "out",
        facts,
        Settings(home=tmp_path / "home", database_url=None),
        now=end_of_history(simulated),
        progress=lambda _: None,
    )
    assert {name: table.n_bad for name, table in report.tables.items()} == dict.fromkeys(rows, 0)
    n_known = facts.read("items").unit_cost_minor.notnull().sum().execute()
    assert n_known == (len(simulated.item_ids) if costs else 0)


@pytest.mark.parametrize("form", FORMS)
def test_the_truth_of_an_item_is_that_of_a_price_that_stays(form):
    simulated = simulate_shop(
        replace(WORLDS["real"](form), n_families=1, n_weeks=60), generator(2, "simulated shop")
    )
    truth = describe_truth(simulated)["items"]["s0002"]
    prices = np.repeat(simulated.current_minor[:, None].astype(float), 2, axis=1)
    prices[2] *= np.exp([-1e-5, 1e-5])
    low, high = np.log(simulated.predict_units(prices)[2])
    assert truth["elasticity"] == pytest.approx((high - low) / 2e-5, abs=1e-4)
    share = simulated.customers.regular_share[2]
    own_share = truth["elasticity"] / simulated.demand.slopes[2]
    assert truth["depth_elasticity"] == pytest.approx(truth["elasticity"] / share - 0.3 * own_share)
    assert truth["first_week_elasticity"] == pytest.approx(
        truth["elasticity"] - (0.3 + 0.45) / 2 * own_share
    )
    assert 0 < truth["announcement_lift"] <= simulated.customers.announcement[2] + 1e-9


def test_shares_out_of_range_are_refused():
    with pytest.raises(BadInput, match="slow_share"):
        ShopParameters(slow_share=1.5)
    with pytest.raises(BadInput, match="slow_units"):
        ShopParameters(slow_units=(0.0, 3.0))
