"""What the benchmark of planned price tests computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.designs.price_designs import Periods
from experiments.designs.price_test import AssignedUnit, PriceTest
from experiments.designs.tested_units import ItemPrices
from experiments.price_panel import read_price_panel
from experiments.simulator.parameters import ShopParameters
from experiments.simulator.shop import simulate_shop
from experiments.simulator.tables import end_of_history
from features.contracts.seeds import generator
from tests.benchmarks.experiments.price_loop import (
    RunningTest,
    ShopYear,
    analyse_test,
    list_targets,
)
from tests.benchmarks.experiments.priced_year import (
    HISTORY_WEEKS,
    YEAR_WEEKS,
    PricedYear,
    build_panel,
    cut_shop,
)
from tests.benchmarks.simulated_shop_data import import_shop

SMALL = ShopParameters(n_families=2, family_size=3, n_shoppers=60, unknown_families=0.5)


def test_the_panel_of_the_loop_is_the_one_that_training_reads(tmp_path: Path):
    shop = simulate_shop(replace(SMALL, n_weeks=40), generator(3, "simulated shop"))
    facts, settings = import_shop(tmp_path, shop, 3)
    read, _ = read_price_panel(facts, settings, end_of_history(shop))
    built = build_panel(shop, costs=True)
    assert read.item_ids.tolist() == built.item_ids.tolist()
    assert read.kinds == built.kinds
    for name in ("category", "family", "units", "listed"):
        assert (getattr(read, name) == getattr(built, name)).all(), name
    for name in ("log_price", "log_list", "log_ratio", "log_cost", "margin", "reach"):
        assert getattr(built, name) == pytest.approx(getattr(read, name), abs=1e-3, nan_ok=True)


@pytest.fixture(scope="module")
def year() -> PricedYear:
    parameters = replace(SMALL, n_weeks=HISTORY_WEEKS + YEAR_WEEKS, units=60.0)
    return PricedYear(simulate_shop(parameters, generator(4, "simulated shop")), 4)


def test_prices_change_the_year_and_not_the_chance_in_it(year):
    ratio = np.ones((len(year.shop.item_ids), year.n_weeks))
    keeping = year.charge(ratio)
    assert (keeping.units[:, :5] == year.charge(ratio).units[:, :5]).all()
    ratio[0, HISTORY_WEEKS:] = 1.1
    changed = year.charge(ratio)
    same_family = year.shop.catalogue.family == year.shop.catalogue.family[0]
    assert (changed.units[~same_family] == keeping.units[~same_family]).all()
    assert (changed.units[:, :HISTORY_WEEKS] == keeping.units[:, :HISTORY_WEEKS]).all()
    assert changed.units[0, HISTORY_WEEKS:].sum() < keeping.units[0, HISTORY_WEEKS:].sum()


def test_a_shop_that_is_cut_knows_no_later_week(year):
    cut = cut_shop(year.shop, HISTORY_WEEKS)
    assert cut.units.shape[1] == cut.plan.regular.shape[1] == HISTORY_WEEKS
    assert (cut.current_minor == year.shop.plan.regular[:, HISTORY_WEEKS - 1]).all()


def test_a_test_in_the_year_measures_slopes_near_the_true_ones(year):
    """All items of a category alone, 48 weeks at ±20 %: errors are stated honestly."""
    shop = year.shop
    n = len(shop.item_ids)
    rng = np.random.default_rng(1)
    begins_higher = rng.permutation(np.arange(n) % 2 == 0)
    units = []
    ratio = np.ones((n, year.n_weeks))
    for row, item_id in enumerate(shop.item_ids):
        current = int(shop.plan.regular[row, HISTORY_WEEKS - 1])
        pair = (round(current * 0.8), round(current * 1.2))
        order = (bool(begins_higher[row]), not begins_higher[row]) * 6
        prices = ItemPrices(item_id, "default", current, *pair, pair)
        units.append(AssignedUnit(item_id, "all", (prices,), order, (0.0,)))
        for period, is_higher in enumerate(order):
            begin = HISTORY_WEEKS + 4 * period
            weeks = slice(begin, begin + 4)
            ratio[row, weeks] = pair[int(is_higher)] / shop.plan.regular[row, weeks]
    test = PriceTest(Periods(12, 4), tuple(units))
    measured = analyse_test(year.charge(ratio), RunningTest(HISTORY_WEEKS, test))
    scores = (measured.slope - np.diag(shop.compute_elasticities())) / measured.error
    assert len(scores) == n
    # 36 scores that are standard normal but for the noise of neighbours' prices.
    assert abs(scores.mean()) < 1.0
    assert 0.5 < scores.std() < 1.7


def make_year(tests: list[float], n_tested: int = 3) -> ShopYear:
    without = np.full(YEAR_WEEKS, 100.0)
    with_tests = without.copy()
    with_tests[: len(tests)] += tests
    return ShopYear(
        seed=1,
        keeping=without - 1,
        without_tests=without,
        with_tests=with_tests,
        oracle=without + 9,
        n_tested=n_tested,
    )


def test_a_programme_has_paid_when_it_is_ahead_for_good():
    # -2, +1, -1 and then +4: behind until the fourth week.
    assert make_year([-2, 1, 0, 4]).weeks_until_paid == 3
    assert make_year([-2, 1]).weeks_until_paid is None
    assert make_year([-2, 1, 0, 4]).gain_of_tests == pytest.approx(3 / 5200)


def test_targets_are_missed_where_tests_lose():
    winning, losing = make_year([-1, 3]), make_year([-3, 1])
    assert [target.met for target in list_targets("x", [winning] * 4 + [losing])] == [True] * 4
    assert not any(target.met for target in list_targets("x", [losing] * 3))
