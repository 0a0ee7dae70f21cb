"""Planned price tests on simulated shops: do they earn more than they cost within a year?

`python -m tests.benchmarks.experiments.price_loop [--seeds N] [--minutes M]`

Each shop of the world `real` lives through the same 52 weeks four times: with the plan's own
prices, with suggested prices every 12 weeks, with suggested prices and planned price tests, and
with the suggestions of a shop that knows its true demand. Profits are the true expected ones, with
those of the weeks under test. Tests are planned, run, analysed and returned to the price response
by the code that a real shop uses.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from configs.loading import load
from experiments.analysis.price_test_results import NOISE, analyse_price_test
from experiments.designs.portfolio import (
    KnownItems,
    ProgrammeLimits,
    plan_tests,
)
from experiments.designs.price_designs import Periods
from experiments.designs.price_test import PriceTest, assign_prices
from experiments.designs.tested_units import sum_cross_effects
from experiments.simulator.shop import SimulatedShop
from features.contracts.arrays import Float64Array
from features.contracts.pricing import PriceTestDesign, PricingItem
from models.pricing.optimise.optimiser import optimise_prices
from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.fit import fit_elasticities
from models.pricing.response.randomised import MeasuredSlopes
from models.pricing.rules import PricingRules
from tests.benchmarks.experiments.priced_year import (
    HISTORY_WEEKS,
    YEAR_WEEKS,
    PricedYear,
    build_panel,
    cut_shop,
    forecast_units,
)
from tests.benchmarks.simulated_pricing import ZONE, build_pricing_items, tell_true_response
from tests.benchmarks.simulated_pricing_targets import Estimate
from tests.benchmarks.targets import Target, exit_with
from training.pricing.task import PricingConfig

DECISION_WEEKS = (0, 12, 24, 36)
MOST_LOSING = 0.2  # share of shops that may earn less with tests than without
_LENGTHS = (Periods(2, 6), Periods(2, 12))
_MAX_ITEMS = 40
_HELD = "under test"


@dataclass(frozen=True)
class RunningTest:
    """A test in the simulated year; weeks count from the first of history."""

    first_week: int
    test: PriceTest

    @property
    def end_week(self) -> int:
        """The week after the test."""
        return self.first_week + self.test.periods.n_weeks


@dataclass(frozen=True)
class ShopYear:
    """Weekly true profit (52,) of a shop by what it does, and its tests."""

    seed: int
    keeping: Float64Array
    without_tests: Float64Array
    with_tests: Float64Array
    oracle: Float64Array
    n_tested: int

    @property
    def gain_of_tests(self) -> float:
        """What tests added to the year's profit, a share of it."""
        return float(self.with_tests.sum() / self.without_tests.sum() - 1)

    @property
    def weeks_until_paid(self) -> int | None:
        """Weeks after which the shop with tests is ahead and stays so; None for never."""
        ahead = np.cumsum(self.with_tests - self.without_tests) >= 0
        behind = np.flatnonzero(~ahead)
        paid = 0 if not len(behind) else int(behind[-1]) + 1
        return paid if paid < YEAR_WEEKS else None


@dataclass
class Programme:
    """One way of living through the year: prices, and tests where `has_tests`.

    fitted   models by the prices that they were fitted on: programmes that have charged the same
             prices know the same
    """

    year: PricedYear
    costs: bool
    has_tests: bool
    ratio: Float64Array
    fitted: dict[bytes, ElasticityModel]
    finished: list[MeasuredSlopes] = field(default_factory=list)
    running: list[RunningTest] = field(default_factory=list)
    n_tested: int = 0

    def run(self) -> list[list[PricingItem]]:
        """Decide every 12 weeks; return the items as they were known at each decision."""
        return [self._decide(HISTORY_WEEKS + week) for week in DECISION_WEEKS]

    def _decide(self, week: int) -> list[PricingItem]:
        charged = self.year.charge(self.ratio)
        shop = cut_shop(charged, week)
        for test in [test for test in self.running if test.end_week <= week]:
            self.finished.append(analyse_test(shop, test))
            self.running.remove(test)
        model = self._fit(shop)
        slopes = model.find_response(shop.item_ids, ZONE).elasticity
        items = build_pricing_items(
            shop, forecast_units(shop, slopes), model, knows_cost=self.costs
        )
        rules = load("pricing/default", PricingRules)
        items = hold_items(items, find_rows(shop, self.running))
        tested_rows = self._start_tests(shop, items, model, rules, week)
        suggest_prices(self.ratio, shop, hold_items(items, tested_rows), rules, week)
        return items

    def _fit(self, shop: SimulatedShop) -> ElasticityModel:
        key = shop.plan.regular.tobytes()
        if key not in self.fitted:
            tested = merge_tests(self.finished) if self.finished else None
            config = load("models/pricing", PricingConfig).elasticity
            panel = build_panel(shop, costs=self.costs)
            self.fitted[key] = fit_elasticities(panel, config, tested)
        return self.fitted[key]

    def _start_tests(
        self,
        shop: SimulatedShop,
        items: Sequence[PricingItem],
        model: ElasticityModel,
        rules: PricingRules,
        week: int,
    ) -> list[int]:
        """Plan tests and set their prices; return the rows of the tested items."""
        weeks_left = self.year.n_weeks - week
        room = _MAX_ITEMS - sum(len(running.test.item_ids) for running in self.running)
        if not self.has_tests or room < 1:
            return []
        limits = ProgrammeLimits(
            max_items=room,
            value_weeks=weeks_left,
            periods=_LENGTHS,
            noise=NOISE,
        )
        known = KnownItems(items, *model.find_shared_errors(shop.item_ids, ZONE))
        portfolio = plan_tests(known, rules, limits)
        if len(portfolio.tests) < 2:
            return []
        effects = model.find_cross_elasticities(shop.item_ids, ZONE)
        keys = [(item_id, ZONE) for item_id in shop.item_ids]
        units = [test.unit for test in portfolio.tests]
        cross = sum_cross_effects(effects, keys, units)
        seed = 1000 * self.year.seed + week
        crossover = PriceTestDesign.CROSSOVER
        test = assign_prices(crossover, units, portfolio.periods, cross, seed)
        self._charge_test(shop, test, week)
        self.running.append(RunningTest(week, test))
        rows = find_rows(shop, self.running)
        self.n_tested += len(test.item_ids)
        return rows

    def _charge_test(self, shop: SimulatedShop, test: PriceTest, week: int) -> None:
        """Set the prices of a test; a price under test does not follow other decisions."""
        regular = self.year.shop.plan.regular
        row_of = {item_id: row for row, item_id in enumerate(shop.item_ids)}
        for period in range(test.periods.n_periods):
            begin = week + period * test.periods.period_weeks
            weeks = slice(begin, begin + test.periods.period_weeks)
            for (item_id, _), price in test.find_prices(period).items():
                row = row_of[item_id]
                self.ratio[row, weeks] = price / regular[row, weeks]


def analyse_test(shop: SimulatedShop, running: RunningTest) -> MeasuredSlopes:
    """Return what a test that is over measured."""
    panel = build_panel(shop, costs=False)
    result = analyse_price_test(panel, running.test, running.first_week, n_draws=0)
    n = len(result.items)
    return MeasuredSlopes(
        item_ids=np.array([item.item_id for item in result.items], object),
        zones=np.array([ZONE] * n, object),
        slope=np.array([item.slope for item in result.items]),
        error=np.array([item.error for item in result.items]),
        first_week=np.full(n, running.first_week),
        end_week=np.full(n, running.end_week),
    )


def merge_tests(tests: Sequence[MeasuredSlopes]) -> MeasuredSlopes:
    """Return the results of several tests as one table."""
    names = vars(tests[0])
    return MeasuredSlopes(
        **{name: np.concatenate([getattr(test, name) for test in tests]) for name in names}
    )


def find_rows(shop: SimulatedShop, running: Sequence[RunningTest]) -> list[int]:
    """Return the rows of the items under test."""
    tested = {item_id for test in running for item_id in test.test.item_ids}
    return [row for row, item_id in enumerate(shop.item_ids) if item_id in tested]


def hold_items(items: Sequence[PricingItem], rows: Sequence[int]) -> list[PricingItem]:
    """Return the items, those at `rows` with a price that must stay."""
    held = set(rows)
    return [replace(item, hold=_HELD) if row in held else item for row, item in enumerate(items)]


def suggest_prices(
    ratio: Float64Array,
    shop: SimulatedShop,
    items: Sequence[PricingItem],
    rules: PricingRules,
    week: int,
) -> None:
    """Multiply the prices from a week on by those that are suggested."""
    row_of = {item_id: row for row, item_id in enumerate(shop.item_ids)}
    for suggestion in optimise_prices(items, rules).suggestions:
        row = row_of[suggestion.item_id]
        ratio[row, week:] *= suggestion.suggested_price_minor / suggestion.current_price_minor


def run_oracle(year: PricedYear, known: Sequence[Sequence[PricingItem]]) -> Float64Array:
    """Return the prices (N, T) of a shop that knows its demand, on the ladders of `known` items."""
    ratio = np.ones((len(year.shop.item_ids), year.n_weeks))
    rules = load("pricing/default", PricingRules)
    for decision, items in zip(DECISION_WEEKS, known, strict=True):
        week = HISTORY_WEEKS + decision
        shop = cut_shop(year.charge(ratio), week)
        current, cost = shop.current_minor.tolist(), shop.unit_cost_minor.tolist()
        units = forecast_units(shop, np.diag(shop.compute_elasticities()))
        present = [
            replace(
                item,
                current_price_minor=current[row],
                list_price_minor=current[row],
                unit_cost_minor=float(cost[row]),
                cost_source="known",
                units_mean=float(units[row, 0]),
                n_regular_changes=None,
            )
            for row, item in enumerate(items)
        ]
        suggest_prices(ratio, shop, tell_true_response(present, shop), rules, week)
    return ratio


def simulate_shop_year(form: str, seed: int, *, costs: bool, world: str = "real") -> ShopYear:
    """Let one shop live through its year in all ways."""
    year = PricedYear.simulate(world, form, seed)
    keeping = np.ones((len(year.shop.item_ids), year.n_weeks))
    fitted: dict[bytes, ElasticityModel] = {}
    without = Programme(year, costs, False, keeping.copy(), fitted)
    known = without.run()
    with_tests = Programme(year, costs, True, keeping.copy(), fitted)
    with_tests.run()
    return ShopYear(
        seed=seed,
        keeping=year.compute_profits(keeping),
        without_tests=year.compute_profits(without.ratio),
        with_tests=year.compute_profits(with_tests.ratio),
        oracle=year.compute_profits(run_oracle(year, known)),
        n_tested=with_tests.n_tested,
    )


def print_shop(shop: ShopYear, seconds: float) -> None:
    """Print one line: gains against keeping all prices, and against no tests."""
    keeping = shop.keeping.sum()
    weeks = shop.weeks_until_paid
    paid = "never paid" if weeks is None else f"paid after {weeks} weeks"
    print(
        f"seed {shop.seed:5d}  without tests {shop.without_tests.sum() / keeping - 1:+.2%}  "
        f"with {shop.with_tests.sum() / keeping - 1:+.2%}  "
        f"true demand known {shop.oracle.sum() / keeping - 1:+.2%}  "
        f"tests {shop.gain_of_tests:+.2%}  items tested {shop.n_tested:3d}  "
        f"{paid if shop.n_tested else 'not worth testing'}  ({seconds:.0f} s)",
        flush=True,
    )


def list_targets(name: str, shops: Sequence[ShopYear]) -> list[Target]:
    """Return the targets of one form of demand and knowledge of costs."""
    gains = [shop.gain_of_tests for shop in shops]
    gain = Estimate.of_shops([100 * value for value in gains])
    n_worse = sum(value < 0 for value in gains)
    whole = [float((shop.oracle - shop.keeping).sum() / shop.keeping.sum()) for shop in shops]
    before, after = (
        Estimate.of_ratio(
            [
                float((getattr(shop, arm) - shop.keeping).sum() / shop.keeping.sum())
                for shop in shops
            ],
            whole,
        )
        for arm in ("without_tests", "with_tests")
    )
    paid = [shop.weeks_until_paid for shop in shops if shop.n_tested]
    known = [weeks for weeks in paid if weeks is not None]
    of_paid = f"{len(known)} of {len(paid)} programmes"
    median = f"; median week {statistics.median(known):.0f}" if known else ""
    return [
        Target(
            f"{name}: a year's profit with tests against without, above 0",
            f"{gain.as_number()} %",
            gain.mean > 0,
        ),
        Target(
            f"{name}: shops that earn less with tests, at most {MOST_LOSING:.0%}",
            f"{n_worse} of {len(shops)}, least {min(gains):+.2%}",
            n_worse <= MOST_LOSING * len(shops),
        ),
        Target(
            f"{name}: share of the gain of known demand with tests, above that without",
            f"{after.as_share()} after {before.as_share()}",
            after.mean > before.mean,
        ),
        Target(
            f"{name}: most programmes have paid within the year",
            of_paid + median,
            len(known) >= len(paid) / 2,
        ),
    ]


def main() -> None:
    """Run the shops and print the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="shops of each kind")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="of all shops of a kind")
    parser.add_argument("--form", choices=("loglinear", "choice"), action="append")
    parser.add_argument("--costs", choices=("with", "without"), action="append")
    options = parser.parse_args(sys.argv[1:])
    threadpool_limits(1)  # matrices are small: threads only wait for each other
    targets: list[Target] = []
    for form in options.form or ("loglinear", "choice"):
        for costs in options.costs or ("with", "without"):
            name = f"real, {form}, {costs} costs"
            print(f"\n{name}", flush=True)
            shops: list[ShopYear] = []
            begin = time.monotonic()
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                started = time.monotonic()
                if started - begin > 60 * options.minutes:
                    print(f"{len(shops)} of {options.seeds} shops: the time is over", flush=True)
                    break
                shops.append(simulate_shop_year(form, seed, costs=costs == "with"))
                print_shop(shops[-1], time.monotonic() - started)
            targets += list_targets(name, shops)
    exit_with(targets)


if __name__ == "__main__":
    main()
