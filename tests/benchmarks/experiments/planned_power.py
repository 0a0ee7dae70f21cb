"""Whether experiments of the planned size are decided as often as the plan says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from experiments.analysis.power import AnalysisKind, Design, plan_size
from tests.benchmarks.experiments.outcomes import (
    KNOWN_CLICKS,
    ClickThrough,
    Conversion,
    Revenue,
    Spend,
    UnitOutcome,
)
from tests.benchmarks.experiments.pilot import learn_outcome
from tests.benchmarks.experiments.simulation import SEED, Trial, run_trials
from tests.benchmarks.targets import Target

N_EXPERIMENTS = 8_000
KINDS: tuple[AnalysisKind, ...] = ("fixed", "always_valid", "group_sequential")
N_LOOKS = 14


@dataclass(frozen=True)
class Plan:
    """A simulated metric, the minimum effect that it is planned for, and the weights."""

    outcome: UnitOutcome
    effect: float
    weights: tuple[float, ...] = (0.5, 0.5)


PLANS = (
    Plan(Conversion(), 0.1),
    Plan(Conversion(), -0.1),
    Plan(Conversion(), 0.1, (0.6, 0.2, 0.2)),
    Plan(Revenue(rate=0.1), 0.15),
    Plan(ClickThrough(), 0.15),
    Plan(KNOWN_CLICKS, 0.15),
    Plan(Spend(), 0.1),
)


def measure_power() -> list[Target]:
    """Print promised and simulated power by metric and analysis, and return the targets."""
    print(f"{N_EXPERIMENTS:,} experiments of each planned size, {N_LOOKS} looks where sequential")
    print(
        f"{'outcome':<15}{'effect':>8}{'weights':>17}  {'analysis':<18}{'units':>9}{'promised':>10}"
        f"{'simulated':>11}{'used of plan':>14}"
    )
    targets = []
    for plan in PLANS:
        pilot = learn_outcome(plan.outcome)
        for kind in KINDS:
            design = Design(weights=plan.weights, analysis=kind, n_looks=N_LOOKS)
            size = plan_size(pilot, design, plan.effect)
            power, used = _simulate(plan, design, size.units)
            print(
                f"{plan.outcome.name:<15}{plan.effect:>8.0%}{plan.weights!s:>17}  {kind:<18}"
                f"{size.total:>9,}{design.power:>10.1%}{power:>11.1%}"
                f"{used:>7.0%} ({size.expected_share:.0%})"
            )
            label = f"{plan.outcome.name} {plan.effect:+.0%}, {len(plan.weights)} variants, {kind}"
            is_met = abs(power - design.power) <= 0.02
            targets.append(
                Target(f"power of 80 % within 2 points, {label}", f"{power:.1%}", is_met)
            )
    return targets


def _simulate(plan: Plan, design: Design, units: tuple[int, ...]) -> tuple[float, float]:
    """Return how often the smallest treatment is called in the effect's direction, and the mean
    share of the units until a decision."""
    shares, bounds = design.list_bounds()
    steps = [math.ceil(n / len(shares)) for n in (units[0], min(units[1:]))]
    trial = Trial(N_EXPERIMENTS, len(shares), steps[0], steps[1], plan.effect)
    scores = run_trials(plan.outcome, trial, SEED + 2).scores * np.sign(plan.effect)
    crossed = np.abs(scores) > np.asarray(bounds)
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), len(shares) - 1)
    at_first = np.take_along_axis(scores, first[:, None], axis=1)[:, 0]
    is_right = crossed.any(axis=1) & (at_first > 0)
    return float(is_right.mean()), float(np.asarray(shares)[first].mean())
