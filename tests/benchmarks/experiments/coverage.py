"""Shares of intervals that hold, what CUPED saves, and how often a broken split is called."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from experiments.analysis.quantiles import compare_quantiles, estimate_quantile
from experiments.analysis.sample_ratio import (
    SAMPLE_RATIO_LEVEL,
    compute_sample_ratio_power,
    find_sample_ratio_size,
)
from tests.benchmarks.experiments.false_positives import compute_critical
from tests.benchmarks.experiments.outcomes import (
    KNOWN_CLICKS,
    ClickThrough,
    Conversion,
    Revenue,
    Spend,
    UnitOutcome,
)
from tests.benchmarks.experiments.simulation import (
    SEED,
    SideEstimates,
    Trial,
    TrialEstimates,
    run_trials,
)
from tests.benchmarks.targets import Target

N_EXPERIMENTS = 20_000
EFFECT = 0.1
OUTCOMES: tuple[tuple[UnitOutcome, int], ...] = (
    (Conversion(), 20_000),
    (Revenue(), 20_000),
    (ClickThrough(), 1_500),
    (KNOWN_CLICKS, 1_500),
    (Spend(), 1_500),
)
"""Outcomes, and units of each variant."""


def measure_coverage() -> list[Target]:
    """Print how many 95 % intervals contain the true difference and the true relative effect."""
    print(f"{N_EXPERIMENTS:,} experiments of each outcome with a true effect of {EFFECT:.0%}")
    print(f"{'outcome':<15}{'units':>8}{'difference holds':>18}{'relative holds':>16}")
    targets = []
    for outcome, step in OUTCOMES:
        estimates = run_trials(outcome, Trial(N_EXPERIMENTS, 1, step, step, EFFECT))
        truth = outcome.compute_truth(EFFECT) - outcome.compute_truth(0.0)
        absolute = _count_covered(estimates, truth)
        relative = _count_covered(_take_logarithms(estimates), math.log1p(EFFECT))
        print(f"{outcome.name:<15}{2 * step:>8,}{absolute:>18.2%}{relative:>16.2%}")
        for kind, share in (("difference", absolute), ("relative effect", relative)):
            name = f"95 % interval of the {kind}, {outcome.name}, holds in 94 to 96 %"
            targets.append(Target(name, f"{share:.2%}", 0.94 <= share <= 0.96))
    return targets


def _count_covered(estimates: TrialEstimates, truth: float) -> float:
    distance = np.abs(estimates.differences - truth)
    return float(np.mean(distance <= compute_critical(estimates) * estimates.errors))


def _take_logarithms(estimates: TrialEstimates) -> TrialEstimates:
    """Return the estimates of the logarithms, as `experiments.analysis.relative` has them."""
    sides = [
        SideEstimates(side.n, np.log(side.means), side.variances / side.means**2)
        for side in (estimates.treatment, estimates.control)
    ]
    return TrialEstimates(*sides)


N_PAIRS = 4_000
N_VISITORS = 300
SLOWER = 0.1


def measure_quantile_coverage() -> list[Target]:
    """Print how many intervals contain the true difference of latency quantiles of visitors.

    A visitor has one to many requests, whose latencies share a factor of the visitor's own.
    """
    rng = np.random.default_rng(SEED)
    own, noise = 0.4, 0.3
    targets = []
    print(f"{N_PAIRS:,} pairs of {N_VISITORS} visitors with 5 requests each on average")
    for probability in (0.5, 0.9, 0.99):
        spread = math.hypot(own, noise) * float(stats.norm.ppf(probability))
        truth = math.exp(4 + spread) * (math.exp(SLOWER) - 1)
        covered = naive = 0
        for _ in range(N_PAIRS):
            clustered, independent = [], []
            for shift in (SLOWER, 0.0):
                units = np.repeat(np.arange(N_VISITORS), rng.geometric(0.2, N_VISITORS))
                factor = rng.normal(0.0, own, N_VISITORS)[units]
                values = np.exp(4 + shift + factor + rng.normal(0.0, noise, len(units)))
                clustered.append(estimate_quantile(values, units, probability))
                independent.append(estimate_quantile(values, np.arange(len(units)), probability))
            covered += _covers(clustered, truth)
            naive += _covers(independent, truth)
        share = covered / N_PAIRS
        print(f"  p{100 * probability:g}: {share:.2%}; as if independent {naive / N_PAIRS:.1%}")
        name = f"95 % interval of the difference of p{100 * probability:g}, holds in 94 to 96 %"
        targets.append(Target(name, f"{share:.2%}", 0.94 <= share <= 0.96))
    return targets


def _covers(pair: list, truth: float) -> bool:
    difference = compare_quantiles(*pair)
    return bool(difference.low <= truth <= difference.high)


@dataclass(frozen=True)
class _Saving:
    """The variance of adjusted differences as a share of that of plain ones, and its error."""

    ratio: float
    error: float


def measure_cuped() -> list[Target]:
    """Print what the adjustment leaves of the variance beside 1 - rho squared."""
    targets = []
    for orders, log_sd in ((0.5, 0.5), (2.0, 0.5), (2.0, 1.0)):
        outcome = Spend(orders=orders, log_sd=log_sd, share_new=0.0)
        trial = Trial(N_EXPERIMENTS, 1, 1_000, 1_000)
        plain = replace(trial, use_past=False)
        saving = _compare_variances(run_trials(outcome, trial), run_trials(outcome, plain))
        expected = 1 - outcome.compute_correlation() ** 2
        print(
            f"CUPED, correlation {outcome.compute_correlation():.3f}: variance ratio "
            f"{saving.ratio:.4f} (error {saving.error:.4f}), 1 - rho^2 {expected:.4f}"
        )
        targets.append(
            Target(
                f"CUPED's variance ratio is 1 - rho^2 = {expected:.4f} within 3 errors",
                f"{saving.ratio:.4f}",
                abs(saving.ratio - expected) <= 3 * saving.error,
            )
        )
    return targets


def _compare_variances(adjusted: TrialEstimates, plain: TrialEstimates) -> _Saving:
    """Return the ratio of variances of the same experiments, with its standard error.

    The error is that of the logarithm of the ratio by the delta method, from the squared
    differences themselves: they have heavy tails, and both variances share the experiments.
    """
    ours, theirs = adjusted.differences[:, -1], plain.differences[:, -1]
    squares = [(values - values.mean()) ** 2 for values in (ours, theirs)]
    ratio = float(squares[0].sum() / squares[1].sum())
    influences = squares[0] / squares[0].mean() - squares[1] / squares[1].mean()
    return _Saving(ratio, ratio * float(influences.std(ddof=1)) / math.sqrt(len(influences)))


SPLITS: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
    ((0.5, 0.5), (0.505, 0.495)),
    ((0.9, 0.1), (0.905, 0.095)),
    ((0.4, 0.3, 0.3), (0.395, 0.305, 0.3)),
)


N_UNITS = 500


def measure_imbalance() -> list[Target]:
    """Print how often variants that are alike are called unequal before the experiment."""
    rng = np.random.default_rng(SEED)
    targets = []
    for outcome in (Spend(), Spend(log_sd=1.0)):
        sides = [outcome.draw(rng, (N_EXPERIMENTS, 1, N_UNITS), 0.0) for _ in range(2)]
        moments = [side.compute_moments() for side in sides]
        error = sum(side.covariances[:, 0, 2, 2] for side in moments) / N_UNITS
        scores = (moments[0].means[:, 0, 2] - moments[1].means[:, 0, 2]) / np.sqrt(error)
        rate = float(np.mean(stats.chi2.sf(scores**2, 1) < SAMPLE_RATIO_LEVEL))
        print(f"Imbalance before exposure, log sd of prices {outcome.log_sd:g}: called {rate:.3%}")
        name = f"equal pasts (log sd {outcome.log_sd:g}) called unequal in at most .2 %"
        targets.append(Target(name, f"{rate:.3%}", rate <= 0.002))
    return targets


def measure_sample_ratio() -> list[Target]:
    """Print how often a split that is half a point off is called, beside the stated power."""
    rng = np.random.default_rng(SEED)
    targets = []
    for weights, shares in SPLITS:
        n = find_sample_ratio_size(weights, shares, power=0.9)
        if n is None:
            raise ValueError("the shares are the weights")
        stated = compute_sample_ratio_power(n, weights, shares)
        rates = []
        for drawn in (shares, weights):
            counts = rng.multinomial(n, drawn, N_EXPERIMENTS)
            due = n * np.asarray(weights)
            statistic = ((counts - due) ** 2 / due).sum(axis=1)
            p_values = stats.chi2.sf(statistic, len(weights) - 1)
            rates.append(float(np.mean(p_values < SAMPLE_RATIO_LEVEL)))
        print(
            f"SRM, weights {weights}, shares {shares}: {n:,} units, called {rates[0]:.2%} "
            f"(stated {stated:.2%}), right split called {rates[1]:.3%}"
        )
        name = f"SRM power {stated:.0%} at {n:,} units of {weights}, within 1 point"
        targets.append(Target(name, f"{rates[0]:.2%}", abs(rates[0] - stated) <= 0.01))
    return targets
