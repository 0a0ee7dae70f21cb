"""How often the gate errs: `python -m tests.benchmarks.gate`, about five minutes.

Simulated retrainings: each draws users with an NDCG-like score (a beta distribution, mean .4,
standard deviation .3) under the champion, the anchor and a candidate. The scores of two models are
correlated as those of two trainings are. The gate sees what it sees in a shop: the scores of every
user. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from features.contracts.arrays import Float64Array
from tests.benchmarks.targets import Target
from training.gate import GateConfig, Reference, Verdict, decide
from training.non_inferiority import UnitValues, measure_loss

MEAN, SPREAD = 0.4, 0.3
WORSE = 0.02
N_RETRAININGS = 2000
N_IN_A_ROW = 5
# Loss of each candidate in a row to its champion, as shares of the margin.
STEPS = (0.21, 0.26, 0.34, 0.51, 1.01)
CORRELATIONS = (0.8, 0.9, 0.95, 0.98)
USERS = (100, 300, 2000)
TARGET_USERS, TARGET_CORRELATION = 2000, 0.95
WORSE_PASSES, EQUAL_REFUSED, ROW_LOSES = 0.05, 0.10, 0.05
_SEED = 20


@dataclass(frozen=True)
class Rates:
    """Shares of simulated retrainings.

    worse_passes    a candidate that loses WORSE to the champion is promoted
    equal_refused   an equal candidate is refused
    row_loses       N_IN_A_ROW retrainings, each losing the same share to its champion, lose more
                    than the margin in sum: the largest over STEPS
    """

    worse_passes: float
    equal_refused: float
    row_loses: float


class Scores:
    """Draws scores of several models for the same users."""

    def __init__(self, n_users: int, correlation: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._n_users = n_users
        a = MEAN * (MEAN * (1 - MEAN) / SPREAD**2 - 1)
        self._grid = np.linspace(-4.0, 4.0, 4001)
        self._quantiles = stats.beta(a, a * (1 - MEAN) / MEAN).ppf(stats.norm.cdf(self._grid))
        self._weight = self._find_weight(correlation)

    def draw(self, losses: tuple[float, ...]) -> list[Float64Array]:
        """Return the scores of one model for each of `losses`, the share of the mean it loses."""
        normal = self._draw_normals(self._weight, self._n_users, len(losses))
        return [
            np.interp(row, self._grid, self._quantiles) * (1 - loss)
            for row, loss in zip(normal, losses, strict=True)
        ]

    def _draw_normals(self, weight: float, n_users: int, n_models: int) -> Float64Array:
        shared = self._rng.standard_normal(n_users)
        own = self._rng.standard_normal((n_models, n_users))
        return np.asarray(math.sqrt(weight) * shared + math.sqrt(1 - weight) * own)

    def _find_weight(self, correlation: float) -> float:
        """Return the correlation of the normals at which the scores have `correlation`."""
        weights = np.linspace(correlation - 0.02, 1.0, 30)
        correlations = []
        for weight in weights:
            pair = self._draw_normals(weight, 20_000, 2)
            first, second = np.interp(pair, self._grid, self._quantiles)
            correlations.append(np.corrcoef(first, second)[0, 1])
        fit = np.polyfit(correlations, weights, 2)
        return float(np.clip(np.polyval(fit, correlation), 0.0, 1.0))


def measure_rates(
    n_users: int, correlation: float, n: int, config: GateConfig, *, n_rows: int | None = None
) -> Rates:
    """Return the error rates of `n` simulated retrainings, and of `n_rows` in a row of each step.

    Without `n_rows` there are `n` in a row of all steps together.
    """
    scores = Scores(n_users, correlation, _SEED)
    worse = [_judge(scores, WORSE, 0.0, 0.0, config).promote for _ in range(n)]
    equal = [_judge(scores, 0.0, 0.0, 0.0, config).promote for _ in range(n)]
    margin = config.recommendations.all_items
    in_a_row = []
    for step in STEPS:
        sums = [
            _retrain_in_a_row(scores, step * margin, config)
            for _ in range(n_rows or n // len(STEPS))
        ]
        in_a_row.append(float(np.mean([total > margin for total in sums])))
    return Rates(float(np.mean(worse)), 1 - float(np.mean(equal)), max(in_a_row))


def _judge(
    scores: Scores, candidate: float, champion: float, anchor: float, config: GateConfig
) -> Verdict:
    """Return the gate's verdict; the losses are shares of what the best model would score."""
    is_anchor = champion == anchor
    drawn = scores.draw((candidate, champion) if is_anchor else (candidate, champion, anchor))
    ids, ones = np.arange(len(drawn[0])), np.ones(len(drawn[0]))
    values = [UnitValues("NDCG@10", "users", ids, row, ones, "higher") for row in drawn]
    losses = [measure_loss(values[0], reference) for reference in values[1:]]
    references = [Reference(str(n), {"all_items": loss}) for n, loss in enumerate(losses)]
    return decide("recommendations", references[0], references[-1], config)


def _retrain_in_a_row(scores: Scores, step: float, config: GateConfig) -> float:
    """Return what the champion has lost after N_IN_A_ROW candidates, each worse by `step`."""
    champion = anchor = 0.0
    for _ in range(N_IN_A_ROW):
        verdict = _judge(scores, champion + step, champion, anchor, config)
        if verdict.promote:
            champion += step
            if verdict.anchor is None:
                anchor = champion
    return champion


def find_least_refusals(n_users: int, correlation: float) -> float:
    """Return the least share of equal candidates that any test refuses which a worse one passes
    in 5 %: both are normal, WORSE apart."""
    error = SPREAD * math.sqrt(2 * (1 - correlation) / n_users) / MEAN
    return float(stats.norm.cdf(stats.norm.isf(WORSE_PASSES) - WORSE / error))


def main() -> int:
    """Print both error rates by users and correlation, then the targets."""
    config = GateConfig()
    print(f"{N_RETRAININGS:,} retrainings a row; margin {config.recommendations.all_items:.0%}")
    print(
        f"{'users':>7}{'correlation':>13}{'2 % worse passes':>18}{'equal refused':>15}"
        f"{'least possible':>16}{'5 in a row lose more':>22}"
    )
    target = Rates(1.0, 1.0, 1.0)
    for n_users in USERS:
        for correlation in CORRELATIONS:
            is_target = (n_users, correlation) == (TARGET_USERS, TARGET_CORRELATION)
            n_rows = N_RETRAININGS if is_target else None
            rates = measure_rates(n_users, correlation, N_RETRAININGS, config, n_rows=n_rows)
            _print_rates(n_users, correlation, rates)
            if is_target:
                target = rates
    widened = replace(config, widen_to=4.0)
    print("the same with widen_to: 4, for shops that prefer newer models to sure ones")
    for n_users in USERS[:2]:
        rates = measure_rates(n_users, TARGET_CORRELATION, N_RETRAININGS // 4, widened)
        _print_rates(n_users, TARGET_CORRELATION, rates)
    print(
        "least possible: of any test that a 2 % worse model passes in 5 %. Above 10 % the two "
        "rates cannot both be had with these users"
    )
    at = f"at {TARGET_USERS:,} users and correlation {TARGET_CORRELATION}"
    targets = [
        Target(
            f"a 2 % worse model passes in at most {WORSE_PASSES:.0%} {at}",
            f"{target.worse_passes:.1%}",
            target.worse_passes <= WORSE_PASSES,
        ),
        Target(
            f"an equal model is refused in at most {EQUAL_REFUSED:.0%} {at}",
            f"{target.equal_refused:.1%}",
            target.equal_refused <= EQUAL_REFUSED,
        ),
        Target(
            f"five in a row lose more than the margin in at most {ROW_LOSES:.0%} {at}",
            f"{target.row_loses:.1%}",
            target.row_loses <= ROW_LOSES,
        ),
    ]
    for line in targets:
        print(line)
    return 0 if all(line.met for line in targets) else 1


def _print_rates(n_users: int, correlation: float, rates: Rates) -> None:
    least = find_least_refusals(n_users, correlation)
    print(
        f"{n_users:>7,}{correlation:>13.2f}{rates.worse_passes:>18.1%}"
        f"{rates.equal_refused:>15.1%}{least:>16.1%}{rates.row_loses:>22.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
