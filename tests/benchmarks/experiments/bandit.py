"""Bandits: traffic on the best arm, and whether the intervals at the end hold the true means.

    python -m tests.benchmarks.experiments.bandit [--runs 2000]

Four arms in 20 batches of 1,000 units. Shares are computed before each batch from all units before
it, with a floor of 5 %. Beside the estimates stands the plain mean of an arm, whose interval takes
no notice of how the shares came about.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.analysis.adaptive_means import AdaptiveOutcomes, compare_arms, estimate_arms
from experiments.bandit import BetaPosterior, allocate_shares, compute_best_chances
from features.contracts.arrays import Float64Array
from features.contracts.seeds import generator
from tests.benchmarks.targets import Target, exit_with

N_BATCHES, N_UNITS = 20, 1_000
FLOOR = 0.05
LOW, HIGH = 0.93, 0.97
N_DRAWS = 2_000
WORLDS = {
    "one better arm": np.array([0.05, 0.05, 0.05, 0.065]),
    "four different arms": np.array([0.04, 0.05, 0.06, 0.08]),
    "equal arms": np.full(4, 0.05),
}
# Of the traffic of the last batch, where one arm is the best; an equal split gives it a quarter.
MIN_SHARE_AT_END = 0.5
_SEED = 17
_Z = 1.959964


@dataclass
class Totals:
    """What the runs of a world gave, by arm: how often the interval held the truth, and shares."""

    n_covered: Float64Array
    n_plain_covered: Float64Array
    n_differences_covered: Float64Array
    errors: list[Float64Array] = field(default_factory=list)
    plain_errors: list[Float64Array] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    last_shares: list[float] = field(default_factory=list)


def run_bandit(rates: Float64Array, rng: np.random.Generator) -> AdaptiveOutcomes:
    """Return the outcomes of one bandit."""
    n_arms = len(rates)
    wins, losses = np.zeros(n_arms, np.int64), np.zeros(n_arms, np.int64)
    arms, rewards, shares = [], [], []
    for _ in range(N_BATCHES):
        posteriors = [
            BetaPosterior(int(won), int(lost)) for won, lost in zip(wins, losses, strict=True)
        ]
        share = allocate_shares(compute_best_chances(posteriors, rng, N_DRAWS), FLOOR)
        arm = rng.choice(n_arms, N_UNITS, p=share)
        reward = rng.random(N_UNITS) < rates[arm]
        wins += np.bincount(arm[reward], minlength=n_arms)
        losses += np.bincount(arm[~reward], minlength=n_arms)
        arms.append(arm)
        rewards.append(reward.astype(float))
        shares.append(share)
    batch = np.repeat(np.arange(N_BATCHES), N_UNITS)
    return AdaptiveOutcomes(batch, np.concatenate(arms), np.concatenate(rewards), np.array(shares))


def run_world(name: str, rates: Float64Array, n_runs: int) -> Totals:
    """Return the totals over bandits with the same true rates."""
    n_arms, best = len(rates), int(np.argmax(rates))
    totals = Totals(np.zeros(n_arms), np.zeros(n_arms), np.zeros(n_arms - 1))
    for number in range(n_runs):
        outcomes = run_bandit(rates, generator(_SEED, f"{name}:{number}"))
        means = estimate_arms(outcomes)
        values = np.array([mean.value for mean in means])
        low, high = (np.array([getattr(mean, end) for mean in means]) for end in ("low", "high"))
        totals.n_covered += (low <= rates) & (rates <= high)
        totals.errors.append(values - rates)
        counts = np.bincount(outcomes.arm, minlength=n_arms)
        plain = np.bincount(outcomes.arm, outcomes.reward, minlength=n_arms) / counts
        margin = _Z * np.sqrt(plain * (1 - plain) / counts)
        totals.n_plain_covered += np.abs(plain - rates) <= margin
        totals.plain_errors.append(plain - rates)
        for arm in range(1, n_arms):
            difference = compare_arms(outcomes, arm, 0)
            truth = rates[arm] - rates[0]
            totals.n_differences_covered[arm - 1] += difference.low <= truth <= difference.high
        totals.shares.append(counts[best] / len(outcomes.arm))
        totals.last_shares.append(float(outcomes.shares[-1, best]))
    return totals


def describe(values: Float64Array) -> str:
    """Return shares as percents with commas between them."""
    return ", ".join(f"{value:.1%}" for value in values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print coverage and traffic by world; exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    options = parser.parse_args(arguments)
    targets = []
    for name, rates in WORLDS.items():
        totals = run_world(name, rates, options.runs)
        covered = totals.n_covered / options.runs
        compared = totals.n_differences_covered / options.runs
        bias = np.mean(totals.errors, axis=0) / rates
        plain_bias = np.mean(totals.plain_errors, axis=0) / rates
        print(f"{name}, rates {describe(rates)}, {options.runs:,} runs")
        print(f"  intervals hold the mean in {describe(covered)}, bias {describe(bias)}")
        print(
            f"  plain intervals in {describe(totals.n_plain_covered / options.runs)}, "
            f"bias {describe(plain_bias)}"
        )
        last = float(np.mean(totals.last_shares))
        print(
            f"  best arm: {np.mean(totals.shares):.0%} of all traffic, {last:.0%} of the last batch"
        )
        for what, values in (("means", covered), ("differences", compared)):
            targets.append(
                Target(
                    f"{name}: intervals of {what} hold the truth in {LOW:.0%}-{HIGH:.0%}",
                    describe(values),
                    bool(np.all((values >= LOW) & (values <= HIGH))),
                )
            )
        if rates.min() < rates.max():
            targets.append(
                Target(
                    f"{name}: the best arm has {MIN_SHARE_AT_END:.0%} of the last batch or more",
                    f"{last:.0%}",
                    last >= MIN_SHARE_AT_END,
                )
            )
    exit_with(targets)


if __name__ == "__main__":
    main()
