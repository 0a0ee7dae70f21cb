"""What prices on simulated shops must show: one line per shop, and targets with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.simulator.parameters import Form
from tests.benchmarks.simulated_pricing import (
    EVERY_KNOWABLE,
    EVERY_SUGGESTION,
    KNOWABLE,
    LEAST_SQUARES,
    OURS,
    TRUE_RESPONSE,
    Costs,
    ShopResult,
    SuggestionResult,
)
from tests.benchmarks.targets import Target
from training.pricing.baselines import EMPIRICAL_BAYES

MAX_BIAS = 0.15
COVERAGE, COVERAGE_OF_WORLD = (0.85, 0.95), (0.87, 0.93)
MAX_LOSING = 0.25
LEAST_GAIN = -0.003
MIN_CAPTURED = {"loglinear": 0.80, "choice": 0.65}  # in the standard world
# In the other worlds, by what the shop knows of costs.
MIN_CAPTURED_REAL: dict[Costs, float] = {"history": 0.50, "today": 0.25, "none": 0.25}
MIN_LEAST_SQUARES_ERROR, MAX_WMAPE = 0.20, 0.08
_NORMAL_95 = 1.96
_RESPONSES = (
    OURS,
    EVERY_SUGGESTION,
    KNOWABLE,
    EVERY_KNOWABLE,
    EMPIRICAL_BAYES,
    LEAST_SQUARES,
    TRUE_RESPONSE,
)


@dataclass(frozen=True)
class Series:
    """The shops of one world and form of demand, which know so much of costs."""

    world: str
    form: Form
    costs: Costs
    shops: Sequence[ShopResult]

    @property
    def name(self) -> str:
        """The series as a line of the output names it."""
        return f"{self.world}, {self.form}, costs: {self.costs}"

    def collect(self, value: Callable[[SuggestionResult], float], of: str = OURS) -> list[float]:
        """Return a value of the suggestions of one price response, shop by shop."""
        return [value(shop.results[of]) for shop in self.shops]


@dataclass(frozen=True)
class Estimate:
    """The mean over shops, and a 95 % interval: 1.96 standard errors to each side."""

    mean: float
    half_width: float  # NaN for a single shop

    @classmethod
    def of_shops(cls, values: Sequence[float]) -> Estimate:
        """Return the mean of one value per shop; no interval of a single shop.

        >>> Estimate.of_shops([1.0, 2.0, 3.0])
        Estimate(mean=2.0, half_width=1.1316065276116665)
        """
        if len(values) < 2:
            return cls(statistics.fmean(values), math.nan)
        spread = statistics.stdev(values)
        return cls(statistics.fmean(values), _NORMAL_95 * spread / math.sqrt(len(values)))

    @classmethod
    def of_ratio(cls, parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
        """Return the sum of the parts over that of the wholes, one of each per shop.

        A shop counts by its whole; NaN where the wholes sum to 0. The interval is that of a ratio
        estimator (Cochran, Sampling techniques, 1977).

        >>> Estimate.of_ratio([1.0, 1.0], [1.0, 3.0])
        Estimate(mean=0.5, half_width=0.49)
        """
        total = sum(wholes)
        if total <= 0:
            return cls(math.nan, math.nan)
        ratio, n = sum(parts) / total, len(parts)
        if n < 2:
            return cls(ratio, math.nan)
        errors = [part - ratio * whole for part, whole in zip(parts, wholes, strict=True)]
        variance = sum(error**2 for error in errors) / (n - 1) / n
        return cls(ratio, _NORMAL_95 * math.sqrt(variance) / (total / n))

    def as_number(self) -> str:
        """Return mean and interval.

        >>> Estimate(-0.1, 0.05).as_number()
        '-0.10 (-0.15 to -0.05)'
        """
        if math.isnan(self.half_width):
            return f"{self.mean:+.2f} (one shop)"
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return f"{self.mean:+.2f} ({low:+.2f} to {high:+.2f})"

    def as_share(self) -> str:
        """Return mean and interval in percent.

        >>> Estimate(0.5, 0.05).as_share()
        '50.0% (45.0 to 55.0)'
        """
        if math.isnan(self.half_width):
            return f"{self.mean:.1%} (one shop)"
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return f"{self.mean:.1%} ({low * 100:.1f} to {high * 100:.1f})"


def print_header(name: str) -> None:
    """Print what the columns of the lines by shop are."""
    print(
        f"\n{name}: costs that the shop knows; bias of all items, of those with a suggestion; 90 % "
        "intervals that hold, all, with a suggestion; suggestions, those that lose; share of the "
        "best gain, on the same ladders, on every item's; gain in true profit, the best; grades"
    )


def print_shop(shop: ShopResult, costs: Costs) -> None:
    """Print one line."""
    ours = shop.results[OURS]
    grades = " ".join(f"{grade}{shop.grades[grade]}" for grade in "ABCD")
    print(
        f"seed {shop.seed:4d} {costs:7}  "
        f"{ours.bias:+.2f} {ours.bias_suggested:+.2f}  "
        f"{_share(shop.covered):4.0%} {_share(shop.covered_suggested):4.0%}  "
        f"{ours.n_suggested:3d} {ours.n_losing:3d}  "
        f"{ours.captured:7.1%} {ours.captured_of_all:7.1%}  "
        f"{ours.gained:+.2%} {ours.best_of_all:+.2%}  {grades}",
        flush=True,
    )


def print_responses(series: Series) -> None:
    """Print one line per price response, and one for keeping all prices.

    "ours, all" leaves the intervals aside (max_losing_share 1), and so does "knowable, all": the
    most that sales can say of an item's own response (`knowable_response`). With the true response,
    the forecast and, where costs are unknown, the assumed costs still err.
    """
    print(f"\n{series.name}")
    print(f"{'':16}bias   suggested losing  same ladders  all items    gain   least")
    for name in _RESPONSES:
        gains = series.collect(lambda result: result.gained, name)
        bias = _average(series.collect(lambda result: result.bias, name))
        captured = Estimate.of_ratio(gains, series.collect(lambda result: result.best, name))
        of_all = series.collect(lambda result: result.best_of_all, name)
        n_suggested = sum(series.collect(lambda result: result.n_suggested, name))
        n_losing = sum(series.collect(lambda result: result.n_losing, name))
        print(
            f"{name:16}{bias:+.2f}  "
            f"{n_suggested / len(series.shops):8.1f} {n_losing / max(n_suggested, 1):7.1%}  "
            f"{captured.mean:12.1%} {Estimate.of_ratio(gains, of_all).mean:10.1%}  "
            f"{statistics.fmean(gains):+.2%}  {min(gains):+.2%}"
        )
    print(f"{'keep all prices':16}{'':7}{0:8.1f} {'':7}  {0:12.1%} {0:10.1%}  {0:+.2%}  {0:+.2%}")
    wmapes = (
        statistics.fmean(shop.wmape for shop in series.shops),
        statistics.fmean(shop.wmape_response for shop in series.shops),
        statistics.fmean(shop.wmape_forecast for shop in series.shops),
    )
    print(
        "WMAPE at ±10 % of the last year {:.3f}, of the weeks to come by the response alone {:.3f},"
        " from the forecast {:.3f}".format(*wmapes)
    )
    for name in series.shops[0].reductions:
        of_shops = [shop.reductions[name] for shop in series.shops]
        bias = statistics.fmean(effect.bias for effect in of_shops)
        covered = np.concatenate([effect.covered for effect in of_shops])
        print(f"{name} of reductions: bias {bias:+.2f}, 90 % intervals hold {covered.mean():.0%}")


def list_targets(series: Series) -> list[Target]:
    """Return the targets of one world, form and knowledge of costs."""
    targets = [*_bias_targets(series), _coverage_target(series), _losing_target(series)]
    targets += [*_captured_targets(series), _least_gain_target(series)]
    return [*targets, *_standard_targets(series)] if series.world == "standard" else targets


def list_world_targets(all_series: Sequence[Series]) -> list[Target]:
    """Return the target of the intervals over both forms of demand of a world."""
    world = all_series[0].world
    shares = [_share(shop.covered) for series in all_series for shop in series.shops]
    estimate = Estimate.of_shops(_drop_unknown(shares) or [math.nan])
    low, high = COVERAGE_OF_WORLD
    return [
        Target(
            f"{world}: 90 % intervals hold {low:.0%} to {high:.0%} over all shops",
            estimate.as_share(),
            low <= estimate.mean <= high,
        )
    ]


def _bias_targets(series: Series) -> list[Target]:
    biases = {
        "all items": series.collect(lambda result: result.bias),
        "items with a suggestion": series.collect(lambda result: result.bias_suggested),
    }
    return [
        _compare_bias(f"{series.name}: bias, {of}, at most {MAX_BIAS}", values)
        for of, values in biases.items()
    ]


def _compare_bias(name: str, values: Sequence[float]) -> Target:
    known = _drop_unknown(values)
    if not known:
        return Target(name, "no such item in any shop", met=False)
    estimate = Estimate.of_shops(known)
    return Target(name, estimate.as_number(), abs(estimate.mean) <= MAX_BIAS)


def _coverage_target(series: Series) -> Target:
    shares = _drop_unknown([_share(shop.covered) for shop in series.shops])
    if not shares:
        return Target(f"{series.name}: 90 % intervals", "no item has one", met=False)
    estimate = Estimate.of_shops(shares)
    suggested = [hit for shop in series.shops for hit in shop.covered_suggested.tolist()]
    of_suggested = f"{statistics.fmean(suggested):.1%}" if suggested else "none"
    low, high = COVERAGE
    return Target(
        f"{series.name}: 90 % intervals hold {low:.0%} to {high:.0%}",
        f"{estimate.as_share()}; of items with a suggestion {of_suggested}",
        low <= estimate.mean <= high,
    )


def _losing_target(series: Series) -> Target:
    suggesting = [shop.results[OURS] for shop in series.shops if shop.results[OURS].n_suggested]
    name = f"{series.name}: suggestions that lose, at most {MAX_LOSING:.0%}"
    if not suggesting:
        return Target(name, "no suggestion in any shop", met=False)
    estimate = Estimate.of_shops([result.n_losing / result.n_suggested for result in suggesting])
    total = sum(result.n_losing for result in suggesting)
    of = sum(result.n_suggested for result in suggesting)
    return Target(
        name,
        f"{total / of:.1%} of {of}; by shop {estimate.as_share()}",
        total / of <= MAX_LOSING,
    )


def _captured_targets(series: Series) -> list[Target]:
    required = MIN_CAPTURED_REAL[series.costs]
    if series.world == "standard":
        required = MIN_CAPTURED[series.form]
    best_gains = {
        "same ladders": series.collect(lambda result: result.best),
        "every item's ladder": series.collect(lambda result: result.best_of_all),
    }
    gains = series.collect(lambda result: result.gained)
    targets = []
    for ladders, best in best_gains.items():
        name = f"{series.name}: share of the best gain, {ladders}, at least {required:.0%}"
        estimate = Estimate.of_ratio(gains, best)
        if math.isnan(estimate.mean):
            targets.append(Target(name, "no item may change its price in any shop", met=False))
        else:
            targets.append(Target(name, estimate.as_share(), estimate.mean >= required))
    return targets


def _least_gain_target(series: Series) -> Target:
    gains = series.collect(lambda result: result.gained)
    estimate = Estimate.of_shops(gains)
    worst = min(series.shops, key=lambda shop: shop.results[OURS].gained)
    n_met = sum(gain >= LEAST_GAIN for gain in gains)
    return Target(
        f"{series.name}: true profit at least {LEAST_GAIN:+.1%} against keeping prices, every shop",
        f"{n_met} of {len(gains)}, least {worst.results[OURS].gained:+.2%} (seed {worst.seed}), "
        f"mean {estimate.mean:+.2%}",
        n_met == len(gains),
    )


def _standard_targets(series: Series) -> list[Target]:
    least_squares = Estimate.of_shops(series.collect(lambda result: result.bias, LEAST_SQUARES))
    wmape = Estimate.of_shops([shop.wmape for shop in series.shops])
    return [
        Target(
            f"{series.name}: least squares errs by {MIN_LEAST_SQUARES_ERROR:.2f}",
            least_squares.as_number(),
            abs(least_squares.mean) >= MIN_LEAST_SQUARES_ERROR,
        ),
        Target(
            f"{series.name}: WMAPE at ±10 %, at most {MAX_WMAPE:.2f}",
            f"{wmape.mean:.3f}",
            wmape.mean <= MAX_WMAPE,
        ),
    ]


def _average(values: Sequence[float]) -> float:
    """Return the mean of the values that are known; NaN without one."""
    known = _drop_unknown(values)
    return statistics.fmean(known) if known else math.nan


def _drop_unknown(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _share(flags: Sequence[bool]) -> float:
    return float(statistics.fmean(flags)) if len(flags) else math.nan
