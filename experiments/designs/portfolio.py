"""The price tests that are expected to bring more than they cost, within a budget of items.

A test is expected to bring the gain of the decisions made with its result, less the gain of those
made now (Raiffa and Schlaifer, Applied statistical decision theory, 1961). Tests of some items also
teach about the others of their category, so tests are valued together: units of items are ranked by
what each brings alone, and of the first 2, 3, 5, ... units the set with the highest value is
taken, over all lengths and depths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.designs.decision_value import PriceDecisions
from experiments.designs.price_designs import Periods
from experiments.designs.tested_units import (
    PriceUnit,
    build_units,
    compute_test_errors,
    name_unit,
)
from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.categories import codes
from features.contracts.pricing import PricingItem
from features.contracts.seeds import generator
from models.pricing.implied_costs import CATEGORY_DEPTH
from models.pricing.response.randomised import UncertainSlopes
from models.pricing.rules import PricingRules

# Equally likely values of a standard normal: possible results of the test of one unit alone.
_RESULTS = np.array([-1.645, -1.036, -0.674, -0.385, -0.126, 0.126, 0.385, 0.674, 1.036, 1.645])
_LEAST_UNITS = 2
_REACH = 100  # items that a year's tests can be about
_MOST_ITEMS = 5_000  # that a plan considers: possible results times items must fit into memory
NO_BUDGET = "other tests bring more, and the items of a week are used up"
NO_DECISION = "no likely result would change a price"
TOO_LITTLE = "all tests together are expected to bring too little beyond their cost"
TOO_DEAR = "a test is expected to cost more than its result brings"


@dataclass(frozen=True)
class ProgrammeLimits:
    """What a portfolio of tests may be.

    max_items     items under test at the same time
    value_weeks   weeks from now on in which better prices count
    periods       lengths to choose from
    depths        shares of the way from the current price to the ends of the allowed ones
    noise         variance of weekly log units beyond the Poisson part
    credit        share of its expected gain that a decision is counted to bring. The best of
                  uncertain prices is often one whose gain is overestimated, and what a price takes
                  from the rest of a family is known badly: on six simulated shops of each form
                  suggestions of grade B brought 48 % of it with log-linear demand, 11 % with choice
    switch_weeks  weeks of an item's profit that a change of its price by 1 in logarithms, there and
                  back, costs beside the price itself: a rise loses more sales than a cut gains
                  while shoppers remember the price before (Kalyanaram and Winer, Empirical
                  generalizations from reference price research, 1995)
    least_share   share of the objective value of the 100 largest items in the weeks that count,
                  which tests must bring beyond their cost: less is not worth anybody's time
    n_draws       possible results of the tests that the value is averaged over
    """

    max_items: int = 40
    value_weeks: int = 52
    periods: tuple[Periods, ...] = (Periods(2, 6), Periods(2, 8), Periods(2, 12))
    depths: tuple[float, ...] = (0.5, 1.0)
    noise: float = 0.1
    credit: float = 0.4
    switch_weeks: float = 0.75
    least_share: float = 0.0005
    n_draws: int = 64
    seed: int = 1


@dataclass(frozen=True)
class PlannedTest:
    """One unit of a portfolio.

    cost         expected gain given up while the test runs, units of the objective; below 0 where
                 its prices are expected to earn more than the present ones
    error_now, error_after   mean standard error of the items' slopes before and after
    """

    unit: PriceUnit
    cost: float
    error_now: float
    error_after: float


@dataclass(frozen=True)
class Portfolio:
    """The tests to run, and why the other units are not tested.

    value   expected gain of the decisions with the results less that of the present ones, until the
            end of the weeks that count, and `net` less the cost of testing
    """

    tests: tuple[PlannedTest, ...]
    periods: Periods
    value: float
    cost: float
    untested: Mapping[str, str] = field(default_factory=dict)

    @property
    def net(self) -> float:
        """The expected value less the expected cost."""
        return self.value - self.cost

    @property
    def n_items(self) -> int:
        """Items under test."""
        return sum(len(test.unit.prices) for test in self.tests)

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many units are not tested, by reason, the most frequent first."""
        return dict(Counter(self.untested.values()).most_common())


@dataclass(frozen=True)
class KnownItems:
    """Items with what is known of their slopes, and of the errors these have in common (N,)."""

    items: Sequence[PricingItem]
    shop_error: Float64Array
    category_error: Float64Array

    def build_slopes(self) -> UncertainSlopes:
        """Return the slopes; an unknown one counts as 0 with no error, and is never tested."""
        return UncertainSlopes(
            mean=np.nan_to_num(np.array([item.elasticity for item in self.items])),
            variance=np.nan_to_num([item.elasticity_error for item in self.items]) ** 2,
            shop_error=np.nan_to_num(self.shop_error),
            category_error=np.nan_to_num(self.category_error),
            category=codes([item.category for item in self.items], CATEGORY_DEPTH),
        )


def plan_tests(
    known: KnownItems,
    rules: PricingRules,
    limits: ProgrammeLimits,
    presets: Mapping[str, PricingRules] | None = None,
) -> Portfolio:
    """Return the portfolio with the highest expected value less cost; without a test where none
    is above 0.

    Of more than 5,000 items those are considered that sell for most.
    """
    known = _keep_largest(known)
    units, reasons = build_units(known.items, rules, presets or {})
    planner = _Planner(known, PriceDecisions.build(known.items, rules, presets), limits)
    nothing = Portfolio((), limits.periods[0], 0.0, 0.0, reasons)
    best, best_reasons = nothing, dict[str, str]()
    for periods in limits.periods:
        if periods.n_weeks >= limits.value_weeks:
            continue
        for depth in limits.depths:
            candidates = [unit.scale(depth) for unit in units]
            ranked, why_not = planner.rank_units(candidates, periods)
            if not best_reasons:
                best_reasons = why_not
            portfolio = planner.choose_units(ranked, periods)
            if portfolio.net > best.net:
                best, best_reasons = portfolio, why_not
    if best.net < limits.least_share * planner.reached_value:
        best, best_reasons = (
            nothing,
            dict.fromkeys((unit.name for unit in units), TOO_LITTLE) | (best_reasons),
        )
    chosen = {test.unit.name for test in best.tests}
    untested = dict(reasons)
    for unit in units:
        if unit.name not in chosen:
            untested[unit.name] = best_reasons.get(unit.name, NO_BUDGET if chosen else TOO_DEAR)
    return replace(best, untested=untested)


def _keep_largest(known: KnownItems) -> KnownItems:
    """Return the families that sell for most, whole, up to the number that a plan considers."""
    if len(known.items) <= _MOST_ITEMS:
        return known
    names = [name_unit(item) for item in known.items]
    turnover: dict[str, float] = {}
    for name, item in zip(names, known.items, strict=True):
        turnover[name] = turnover.get(name, 0.0) + item.units_mean * item.current_price_minor
    sizes, kept, n_items = Counter(names), set[str](), 0
    for name in sorted(turnover, key=lambda name: (-turnover[name], name)):
        n_items += sizes[name]
        if n_items > _MOST_ITEMS:
            break
        kept.add(name)
    rows = [row for row, name in enumerate(names) if name in kept]
    return KnownItems(
        [known.items[row] for row in rows], known.shop_error[rows], known.category_error[rows]
    )


class _Planner:
    """Values sets of units; all arrays over the same N items."""

    def __init__(
        self, known: KnownItems, decisions: PriceDecisions, limits: ProgrammeLimits
    ) -> None:
        self._decisions, self._limits = decisions, limits
        self._slopes = known.build_slopes()
        self._error = np.sqrt(self._slopes.variance)
        self._present = decisions.evaluate(
            self._slopes.mean[None], self._error, decisions.n_changes_missing
        )[0]
        weekly = np.sort(np.abs(decisions.weekly_value))[-_REACH:]
        self.reached_value = float(weekly.sum()) * limits.value_weeks
        # So sure is the last decision where shares of losing ones spread evenly above it.
        self._confidence = 1 - 2 * decisions.max_losing_share

    def rank_units(
        self, units: Sequence[PriceUnit], periods: Periods
    ) -> tuple[list[PriceUnit], dict[str, str]]:
        """Return the units whose own test may bring something, the best per item first, and the
        reasons of the others."""
        decisions, error = self._decisions, self._error
        test_error = compute_test_errors(units, self._decisions.units, periods, self._limits.noise)
        after = 1 / np.sqrt(1 / np.maximum(error, 1e-9) ** 2 + 1 / test_error**2)
        moves = np.sqrt(np.maximum(error**2 - after**2, 0.0))
        missing = decisions.n_changes_missing & ~np.isfinite(test_error)
        results = self._slopes.mean + _RESULTS[:, None] * moves
        values = decisions.evaluate(results, after, missing, self._confidence).mean(0)
        now = decisions.evaluate(
            self._slopes.mean[None], error, decisions.n_changes_missing, self._confidence
        )[0]
        gain = self._limits.credit * (values - now)
        gain = gain * (self._limits.value_weeks - periods.n_weeks)
        costs = self._compute_costs(units, periods)
        net = {
            unit.name: (float(gain[list(unit.rows)].sum()) - costs[unit.name]) / len(unit.prices)
            for unit in units
        }
        reasons = {}
        for unit in units:
            if gain[list(unit.rows)].sum() <= 0:
                reasons[unit.name] = NO_DECISION
            elif net[unit.name] <= 0:
                reasons[unit.name] = TOO_DEAR
        ranked = sorted(
            (unit for unit in units if unit.name not in reasons),
            key=lambda unit: (-net[unit.name], unit.name),
        )
        return ranked, reasons

    def choose_units(self, ranked: Sequence[PriceUnit], periods: Periods) -> Portfolio:
        """Return the best of the sets of first units, each evaluated as a whole."""
        best = Portfolio((), periods, 0.0, 0.0)
        for units in _list_prefixes(ranked, self._limits.max_items):
            portfolio = self._evaluate(units, periods)
            if portfolio.net > best.net:
                best = portfolio
        return best

    def _evaluate(self, units: Sequence[PriceUnit], periods: Periods) -> Portfolio:
        test_error = compute_test_errors(units, self._decisions.units, periods, self._limits.noise)
        rows = np.flatnonzero(np.isfinite(test_error))
        results, after = self._draw_results(rows, test_error[rows])
        is_tested = np.isfinite(test_error)
        missing = self._decisions.n_changes_missing & ~is_tested
        with_results = self._decisions.evaluate(results, after, missing).sum(1).mean()
        weeks = self._limits.credit * (self._limits.value_weeks - periods.n_weeks)
        value = float(with_results - self._present.sum()) * weeks
        costs = self._compute_costs(units, periods)
        tests = tuple(
            PlannedTest(
                unit=unit,
                cost=costs[unit.name],
                error_now=float(self._error[list(unit.rows)].mean()),
                error_after=float(after[list(unit.rows)].mean()),
            )
            for unit in units
        )
        return Portfolio(tests, periods, value, sum(costs.values()))

    def _draw_results(
        self, rows: Int64Array, test_error: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Return slopes (M, N) after possible results of the tests of some rows, and their errors
        (N,), which do not depend on the result."""
        slopes = self._slopes
        shared = slopes.compute_covariance(np.arange(len(slopes.mean)), rows)
        total = shared[rows] + np.diag(test_error**2)
        rng = generator(self._limits.seed, "results of price tests")
        half = rng.normal(size=(self._limits.n_draws // 2, len(rows)))
        draws = np.vstack([half, -half])
        root = np.linalg.cholesky(total)
        results = slopes.mean + np.linalg.solve(root.T, draws.T).T @ shared.T
        explained = (np.linalg.solve(total, shared.T).T * shared).sum(1)
        return results, np.sqrt(np.maximum(slopes.variance - explained, 1e-9))

    def _compute_costs(self, units: Sequence[PriceUnit], periods: Periods) -> dict[str, float]:
        """Return the gain of the present decisions of each unit less that at its test prices.

        A gain that the uncertain slope promises counts as that of a decision does, a loss in full.
        """
        lower, higher = _spread_prices(units, len(self._error))
        no_error = np.zeros_like(self._error)
        gain = sum(
            self._decisions.expect_gain(log_ratio, self._slopes.mean, no_error)
            for log_ratio in (lower, higher)
        )
        gain = np.where(gain > 0, self._limits.credit, 1.0) * gain / 2
        given_up = (self._limits.credit * self._present - gain) * periods.n_weeks
        weekly = np.abs(self._decisions.weekly_value)
        given_up = given_up + self._limits.switch_weeks * weekly * (higher - lower)
        return {unit.name: float(given_up[list(unit.rows)].sum()) for unit in units}


def _spread_prices(units: Sequence[PriceUnit], n: int) -> Float64Array:
    """Return the log ratios (2, N) of lower and higher test prices to the current ones."""
    log_ratio = np.zeros((2, n))
    for unit in units:
        for row, prices in zip(unit.rows, unit.prices, strict=True):
            log_ratio[:, row] = prices.log_ratios
    return log_ratio


def _list_prefixes(ranked: Sequence[PriceUnit], max_items: int) -> list[Sequence[PriceUnit]]:
    """Return the first 2, 3, 5, 8, ... units, and the most that the budget holds.

    A single unit has nobody to be compared with.
    """
    sizes = np.cumsum([len(unit.prices) for unit in ranked])
    most = int((sizes <= max_items).sum())
    counts, count = list[int](), _LEAST_UNITS
    while count < most:
        counts.append(count)
        count = int(np.ceil(count * 1.5))
    return [ranked[:count] for count in (*counts, most) if count >= _LEAST_UNITS]
