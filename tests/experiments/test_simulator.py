import hashlib
from dataclasses import replace
from datetime import timedelta
from itertools import product

import numpy as np
import pytest

from configs.settings import Settings
from experiments.simulator.demand import Choice, LogLinear
from experiments.simulator.demand_factors import _autoregress, _predict_log_factor
from experiments.simulator.list_prices import round_to_ending_9
from experiments.simulator.oracle import compare_profits, find_best_prices
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import simulate_shop
from experiments.simulator.tables import (
    START,
    TRUTH,
    build_tables,
    describe_truth,
    end_of_history,
    write_shop,
)
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.contracts.seeds import generator
from features.facts.facts import Facts
from features.pipelines.demand import Plans, weekly_demand
from features.sources.folder import import_folder

SMALL = ShopParameters(n_categories=2, n_families=2, family_size=3, n_weeks=30, n_shoppers=60)
ONE_FAMILY = ShopParameters(
    n_departments=1, n_categories=1, n_families=1, family_size=3, n_weeks=30
)


def shop(parameters: ShopParameters = SMALL, seed: int = 4):
    return simulate_shop(parameters, generator(seed, "simulated shop"))


@pytest.mark.parametrize("form", ["loglinear", "choice"])
def test_twins_differ_in_their_promotion_weeks_only(form):
    large = ShopParameters(form=form, n_weeks=104)
    confounded, free = (
        shop(replace(large, confounded=is_confounded)) for is_confounded in (True, False)
    )
    np.testing.assert_array_equal(confounded.plan.regular, free.plan.regular)
    np.testing.assert_array_equal(confounded.plan.cost, free.plan.cost)
    np.testing.assert_array_equal(confounded.demand_factors.past, free.demand_factors.past)
    np.testing.assert_array_equal(confounded.compute_elasticities(), free.compute_elasticities())
    rates = [(twin.plan.depth > 0).mean() for twin in (confounded, free)]
    assert rates == pytest.approx([0.16, 0.16], abs=0.01)  # 9,984 weeks of items
    together = [
        np.corrcoef((twin.plan.depth > 0).ravel(), np.log(twin.demand_factors.past).ravel())[0, 1]
        for twin in (confounded, free)
    ]
    assert together[0] > 0.2
    assert abs(together[1]) < 0.04


# SHA-256 of prices, costs, units sold and units on hand, before anything could be switched on.
STANDARD_SHOPS = {
    ("loglinear", True): "428692455e3ed8eed3e25e1e4efee12267f494dae9ef4f835c86a6a3451a021a",
    ("loglinear", False): "f90bd49aa369ae350baa8084b73ef9b5a6dafbdade7dca63e0b6a24cadd96440",
    ("choice", True): "784aaf822d4bd2ccdf83c488358210a2f84028b806810d5e980424ad8eb65e04",
    ("choice", False): "9a95c59b2e00dd2ee207d6e04e9ffbbd60c9431d6670894bcfc9f2ee26655b6d",
}


@pytest.mark.parametrize(("form", "confounded"), list(STANDARD_SHOPS))
def test_the_standard_world_stays_as_it_was(form, confounded):
    standard = shop(ShopParameters(form=form, confounded=confounded), 1)
    digest = hashlib.sha256()
    plan = standard.plan
    for array in (plan.regular, plan.offer, plan.cost, standard.units, standard.available):
        digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    assert digest.hexdigest() == STANDARD_SHOPS[form, confounded]


def test_log_linear_units_follow_the_formula():
    # 100 units at reference; own -2, 0.5 from the neighbour: 10 % dearer, the neighbour 20 %
    # cheaper, a push of .1.
    demand = LogLinear(
        np.log([100.0, 50.0]),
        np.array([-2.0, -3.0]),
        np.array([[0, 0.5], [0.3, 0]]),
        np.log([2.0, 3.0]),
    )
    units = demand.units(np.log([[2.2], [2.4]]), np.array([[0.1], [0.0]]))
    assert units.ravel() == pytest.approx(
        [100 * 1.1**-2 * 0.8**0.5 * np.exp(0.1), 50 * 0.8**-3 * 1.1**0.3]
    )


@pytest.mark.parametrize("form", ["loglinear", "choice"])
def test_elasticities_are_the_derivatives_of_units(form):
    simulated = shop(replace(SMALL, form=form))
    prices = np.log(simulated.current_minor.astype(float))
    step = 1e-6
    for item in (0, 5):
        sets = np.stack([prices, prices], axis=1)
        sets[item] += (-step, step)
        low, high = np.log(simulated.demand.units(sets, np.zeros(sets.shape))).T
        assert simulated.compute_elasticities()[:, item] == pytest.approx(
            (high - low) / (2 * step), abs=1e-5
        )


def test_what_an_item_loses_its_neighbours_partly_gain_and_other_families_do_not():
    # Three of four shoppers buy; a utility of one item that falls to nothing leaves 2 : 1 between
    # the rest.
    demand = Choice(np.zeros(3), np.full(3, -2.0), np.zeros(3), np.zeros(3, int), np.array([400.0]))
    kept, dearer = demand.units(np.array([[0.0, 30.0], [0.0, 0.0], [0.0, 0.0]]), np.zeros((3, 2))).T
    assert kept == pytest.approx([100, 100, 100])
    assert dearer == pytest.approx([0, 400 / 3, 400 / 3], abs=1e-9)
    simulated = shop(replace(SMALL, form="choice"))
    other = simulated.catalogue.family[:, None] != simulated.catalogue.family[None, :]
    assert (simulated.compute_elasticities()[other] == 0).all()


def test_profit_and_units_to_come_are_sums_over_items_and_weeks():
    simulated = shop()
    base = simulated.demand.units(
        np.log(simulated.current_minor[:, None].astype(float)), np.zeros((24, 1))
    )[:, 0]
    units = base * simulated.demand_factors.ahead.sum(1)
    assert simulated.predict_units(simulated.current_minor[:, None])[:, 0] == pytest.approx(units)
    profit = ((simulated.current_minor - simulated.unit_cost_minor) * units).sum()
    assert simulated.predict_profit(simulated.current_minor[:, None]) == pytest.approx([profit])


def test_demand_to_come_is_expected_from_the_last_week():
    # State 2, memory .5, spread .1: next week's state is normal with mean 1 and variance 1 - .25.
    log_factor = _predict_log_factor(0.1, 0.5, np.array([2.0]), 2)
    assert log_factor == pytest.approx(
        np.array([[0.1 * 1 + 0.01 * 0.75 / 2, 0.1 * 0.5 + 0.01 * 0.9375 / 2]])
    )
    draws = np.random.default_rng(3).normal(size=(200, 400))
    assert _autoregress(draws, 0.9)[:, 50:].std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("form", ["loglinear", "choice"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_oracle_finds_the_best_of_all_combinations(form, seed):
    simulated = shop(replace(ONE_FAMILY, form=form), seed)
    ladders = [
        sorted({*round_to_ending_9(price * np.linspace(0.9, 1.1, 6)).tolist()})
        for price in simulated.current_minor
    ]
    own = [
        sorted({*ladder, price})
        for ladder, price in zip(ladders, simulated.current_minor.tolist(), strict=True)
    ]
    every = np.array(list(product(*own))).T
    best = every[:, int(np.argmax(simulated.predict_profit(every)))]
    assert find_best_prices(simulated, ladders).tolist() == best.tolist()
    assert compare_profits(simulated, best, best).captured == 1.0
    assert compare_profits(simulated, simulated.current_minor, best).captured == 0.0


def test_the_same_seed_gives_the_same_tables_and_another_seed_others():
    first, second, third = (
        build_tables(shop(seed=seed), generator(seed, "shoppers")) for seed in (1, 1, 2)
    )
    assert all(first[name].equals(second[name]) for name in first)
    assert not first["events"].equals(third["events"])


def test_the_tables_are_taken_whole_and_hold_what_was_sold(tmp_path):
    simulated = shop()
    rows = write_shop(tmp_path / "out", simulated, generator(1, "shoppers"))
    settings = Settings(home=tmp_path / "home", database_url=None)
    facts = Facts(settings)
    report = import_folder(
        tmp_path / "out", facts, settings, now=end_of_history(simulated), progress=lambda _: None
    )
    assert {name: table.n_bad for name, table in report.tables.items()} == dict.fromkeys(rows, 0)
    starts = week_starts(START, end_of_history(simulated) - timedelta(days=1), "UTC")
    assert len(starts) == SMALL.n_weeks
    plans = Plans(facts.read("promotions"), facts.read("price_history"))
    weekly = weekly_demand(
        facts.read("events"),
        plans,
        as_of=end_of_history(simulated),
        week_starts=starts,
    )
    for row in weekly.to_pyarrow().to_pylist():
        item, week = simulated.item_ids.index(row["item_id"]), starts.index(row["week_start"])
        assert row["units"] == simulated.units[item, week]
        assert row["planned_offer_price_minor"] == pytest.approx(simulated.plan.offer[item, week])
        assert row["planned_list_price_minor"] == pytest.approx(simulated.plan.regular[item, week])
        assert row["reach:display"] == pytest.approx(simulated.plan.display[item, week], abs=1e-3)
    kinds = set(facts.read("events").event_type.to_pyarrow().to_pylist())
    assert kinds == {"view_item", "add_to_cart", "purchase"}


def test_a_short_delivery_sells_out_and_stock_says_so(tmp_path):
    simulated = shop(replace(SMALL, stock_outs=0.3))
    out = simulated.units == simulated.available
    assert 0.15 < out.mean() < 0.32
    zeros = [
        row
        for row in build_tables(simulated, generator(1, "shoppers"), clicks=False)[
            "stock"
        ].to_pylist()
        if not row["on_hand"]
    ]
    assert (
        len({(row["item_id"], row["at"]) for row in zeros if row["at"].weekday() == 6}) == out.sum()
    )


def test_the_truth_lies_in_a_file_of_its_own(tmp_path):
    simulated = shop()
    assert TRUTH == "truth.json"
    item = describe_truth(simulated)["items"]["s0004"]
    at_ninety = simulated.current_minor[:, None].astype(float)
    at_ninety[4] *= 0.9
    assert item["expected_units"]["0.90"] == pytest.approx(simulated.predict_units(at_ninety)[4, 0])
    assert item["elasticity"] == pytest.approx(simulated.compute_elasticities()[4, 4])
    assert set(item["cross"]) == {"s0003", "s0005"}


def test_sizes_and_forms_out_of_range_are_refused():
    with pytest.raises(BadInput, match="form"):
        ShopParameters(form="magic")
    with pytest.raises(BadInput, match="eight weeks"):
        ShopParameters(n_weeks=4)
