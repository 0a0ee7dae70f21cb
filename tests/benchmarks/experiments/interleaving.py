"""Interleaving against an A/B test: how many visits each needs to find the better of two rankers.

    python -m tests.benchmarks.experiments.interleaving [--runs 400]

Both see the same shoppers, who click by the same rules. The A/B test compares clicks per shopper
(Welch); the number of shoppers that it needs for a power of 80 % is computed from the means and
variances of 200,000 simulated ones, and checked by simulated tests. Interleaving gets a twentieth
of these shoppers, and a tenth and a fortieth for comparison.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.analysis.statistics import Moments, compare_means
from experiments.analysis.team_credit import TeamCredits, compare_teams
from experiments.interleaving import draft_teams
from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.seeds import generator
from tests.benchmarks.experiments.shopper_model import (
    ACTIVITY,
    READINGS,
    Reading,
    ShownSlates,
    draw_clicks,
    draw_visits,
)
from tests.benchmarks.targets import Target, exit_with

N_KINDS, N_ITEMS, N_CATEGORIES, N_RANKS = 40, 60, 8, 8
POWER, LEVEL = 0.8, 0.05
N_MEASURED = 200_000
SHARES = (1 / 10, 1 / 20, 1 / 40)
TARGET_SHARE = 1 / 20
# How much of the noise of the first ranker the better one has.
NOISE = {"clearly better": 0.75, "a little better": 0.9}
_N_DRAFTS = 256  # drafts for each kind of shopper, of which every visit gets one
_MAX_AB_RUNS = 200
_N_SAME_RUNS = 1_000
_N_SAME = 1_000  # shoppers of a test of two rankers that are the same
_SEED = 17


@dataclass(frozen=True)
class Rankers:
    """Slates by kind of shopper: of the first ranker, of the second, and interleaved.

    attraction, category   (kinds, items)
    first, second          (kinds, K) items by rank
    drafts                 (kinds, drafts, K) items; second_gave: which of them the second gave
    """

    attraction: Float64Array
    category: Int64Array
    first: Int64Array
    second: Int64Array
    drafts: Int64Array
    second_gave: BoolArray


def build_rankers(noise: float, rng: np.random.Generator) -> Rankers:
    """Return two rankers that know the same tastes, the second with `noise` times the error."""
    taste = rng.normal(0, 1, (N_KINDS, N_ITEMS))
    error = rng.normal(0, 1, taste.shape)
    first = np.argsort(-(taste + error), axis=1)[:, :N_RANKS]
    second = np.argsort(-(taste + noise * error), axis=1)[:, :N_RANKS]
    drafts = np.zeros((N_KINDS, _N_DRAFTS, N_RANKS), np.int64)
    second_gave = np.zeros(drafts.shape, bool)
    for kind in range(N_KINDS):
        lists = [[str(item) for item in items] for items in (first[kind], second[kind])]
        for number in range(_N_DRAFTS):
            slate = draft_teams(*lists, N_RANKS, f"{kind}:{number}")
            drafts[kind, number] = [int(item) for item in slate.item_ids]
            second_gave[kind, number] = [team == "second" for team in slate.teams]
    return Rankers(
        attraction=1 / (1 + np.exp(2.5 - 0.8 * taste)),
        category=rng.integers(0, N_CATEGORIES, taste.shape),
        first=first,
        second=second,
        drafts=drafts,
        second_gave=second_gave,
    )


@dataclass(frozen=True)
class Sample:
    """Visits of shoppers: kind of taste and of activity (n,), and the shopper (n,)."""

    kind: Int64Array
    activity: Float64Array
    shopper: Int64Array


def draw_sample(n_shoppers: int, rng: np.random.Generator) -> Sample:
    """Return the visits of so many shoppers."""
    visits = draw_visits(n_shoppers, rng)
    kind = rng.integers(0, N_KINDS, n_shoppers)[visits.shopper]
    return Sample(kind, ACTIVITY[visits.kind], visits.shopper)


def _show(rankers: Rankers, sample: Sample, items: Int64Array) -> ShownSlates:
    """Return slates of the items (n, K) as the shoppers of the sample see them."""
    return ShownSlates(
        np.take_along_axis(rankers.attraction[sample.kind], items, 1),
        np.take_along_axis(rankers.category[sample.kind], items, 1),
    )


def count_clicks(
    rankers: Rankers, sample: Sample, slates: Int64Array, reading: Reading, rng: np.random.Generator
) -> Float64Array:
    """Return clicks by shopper where everybody gets the slates (kinds, K) of one ranker."""
    shown = _show(rankers, sample, slates[sample.kind])
    clicks = draw_clicks(shown, sample.activity, reading, rng).sum(1)
    return np.bincount(sample.shopper, clicks)


def interleave_sample(
    rankers: Rankers, sample: Sample, reading: Reading, rng: np.random.Generator
) -> TeamCredits:
    """Return the credits of interleaved slates, of shoppers with a click."""
    draft = rng.integers(0, _N_DRAFTS, len(sample.kind))
    shown = _show(rankers, sample, rankers.drafts[sample.kind, draft])
    clicks = draw_clicks(shown, sample.activity, reading, rng)
    is_second = rankers.second_gave[sample.kind, draft]
    second = np.bincount(sample.shopper, (clicks * is_second).sum(1)).astype(np.int64)
    first = np.bincount(sample.shopper, (clicks * ~is_second).sum(1)).astype(np.int64)
    has_click = first + second > 0
    return TeamCredits(first[has_click], second[has_click])


@dataclass(frozen=True)
class Comparison:
    """What an A/B test needs, and what interleaving finds with shares of it.

    gain        of clicks per shopper by the better ranker, a share
    n_shoppers  that the A/B test needs for a power of 80 %, both arms together
    ab_power    of simulated A/B tests of that size
    powers      of interleaving by the share of these shoppers
    """

    gain: float
    n_shoppers: int
    ab_power: float
    powers: dict[float, float]


def compare(noise: float, reading: Reading, n_runs: int) -> Comparison:
    """Return the comparison of two rankers, for one way to read."""
    name = f"{noise}:{reading}"
    rankers = build_rankers(noise, generator(_SEED, f"rankers:{noise}"))
    rng = generator(_SEED, name)
    sample = draw_sample(N_MEASURED, rng)
    first = count_clicks(rankers, sample, rankers.first, reading, rng)
    second = count_clicks(rankers, sample, rankers.second, reading, rng)
    difference = float(second.mean() - first.mean())
    quantiles = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    variance = float(first.var() + second.var())
    n_arm = math.ceil(variance * (quantiles / difference) ** 2)

    def run_ab_test(rng: np.random.Generator) -> bool:
        arms = [draw_sample(n_arm, rng) for _ in range(2)]
        values = [
            count_clicks(rankers, arm, slates, reading, rng)
            for arm, slates in zip(arms, (rankers.first, rankers.second), strict=True)
        ]
        moments = [Moments(n_arm, float(v.mean()), float(v.var(ddof=1))) for v in values]
        result = compare_means(moments[1], moments[0])
        return result is not None and result.p_value < LEVEL and result.value > 0

    def interleave(n_shoppers: int) -> Callable[[np.random.Generator], bool]:
        def run(rng: np.random.Generator) -> bool:
            shoppers = draw_sample(n_shoppers, rng)
            result = compare_teams(interleave_sample(rankers, shoppers, reading, rng))
            return result is not None and result.p_value < LEVEL and result.lead > 0

        return run

    n_shoppers = 2 * n_arm
    powers = {
        share: measure_power(interleave(int(share * n_shoppers)), f"{name}:{share}", n_runs)
        for share in SHARES
    }
    ab_power = measure_power(run_ab_test, f"{name}:ab", min(n_runs, _MAX_AB_RUNS))
    return Comparison(difference / float(first.mean()), n_shoppers, ab_power, powers)


def measure_power(run: Callable[[np.random.Generator], bool], name: str, n_runs: int) -> float:
    """Return the share of runs that name the better ranker."""
    return sum(run(generator(_SEED, f"{name}:{number}")) for number in range(n_runs)) / n_runs


def measure_false_positives(reading: Reading, n_runs: int) -> float:
    """Return how often interleaving names a winner of two rankers that are the same."""
    rankers = build_rankers(1.0, generator(_SEED, "same"))
    n_named = 0
    for number in range(n_runs):
        rng = generator(_SEED, f"{reading}:same:{number}")
        sample = draw_sample(_N_SAME, rng)
        result = compare_teams(interleave_sample(rankers, sample, reading, rng))
        n_named += result is not None and result.p_value < LEVEL
    return n_named / n_runs


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what both need; exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    options = parser.parse_args(arguments)
    targets = []
    for reading in READINGS:
        for name, noise in NOISE.items():
            result = compare(noise, reading, options.runs)
            powers = ", ".join(f"1/{1 / share:.0f}: {p:.0%}" for share, p in result.powers.items())
            print(
                f"{reading}, {name}: clicks {result.gain:+.1%}; A/B needs {result.n_shoppers:,} "
                f"shoppers (power {result.ab_power:.0%}); interleaving with shares of them {powers}"
            )
            power = result.powers[TARGET_SHARE]
            targets.append(
                Target(
                    f"{reading}, {name}: a twentieth of the A/B sample has a power of 80 %",
                    f"{power:.0%}",
                    power >= POWER,
                )
            )
        share = measure_false_positives(reading, _N_SAME_RUNS)
        error = 4 * math.sqrt(LEVEL * (1 - LEVEL) / _N_SAME_RUNS)
        targets.append(
            Target(
                f"{reading}: tests of equal rankers name a winner in {LEVEL:.0%}, within chance",
                f"{share:.1%}",
                abs(share - LEVEL) <= error,
            )
        )
    exit_with(targets)


if __name__ == "__main__":
    main()
