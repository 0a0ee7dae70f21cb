"""How fast a harmful variant is stopped, and how often a harmless one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.analysis.guardrail import GuardrailRule, evaluate_guardrail
from experiments.analysis.power import Design, Outcome, describe_proportion, plan_size
from experiments.analysis.sequential import compute_one_sided_multiple
from tests.benchmarks.experiments.outcomes import Conversion, Revenue, UnitOutcome
from tests.benchmarks.experiments.simulation import (
    SEED,
    SideEstimates,
    Trial,
    TrialEstimates,
    compute_repeated_errors,
    divide,
    run_trials,
)
from tests.benchmarks.targets import Target

N_EXPERIMENTS = 2_000
MINIMUM_EFFECT = 0.03
MARGIN = 0.02
HARM = 0.2
N_LOOKS = 100
EARLY = 0.1
N_CHECKS = 300
_REVENUE = Revenue()
METRICS: tuple[tuple[UnitOutcome, Outcome], ...] = (
    (Conversion(), describe_proportion(0.05)),
    (_REVENUE, Outcome(_REVENUE.compute_truth(0.0), _REVENUE.compute_variance())),
)


@dataclass(frozen=True)
class _Run:
    """What is simulated: the effect, and until which share of the planned traffic."""

    name: str
    effect: float
    until: float


RUNS = (
    _Run(f"costs {HARM:.0%}", -HARM, EARLY),
    _Run("no effect", 0.0, 1.0),
    _Run(f"costs the margin of {MARGIN:.0%}", -MARGIN, 1.0),
)


def measure_guardrails() -> list[Target]:
    """Print how often guardrails stop, and return the targets."""
    print(
        f"Guardrail: loss beyond {MARGIN:.0%} at 5 %, {N_LOOKS} looks in each {EARLY:.0%} of a "
        f"traffic planned for {MINIMUM_EFFECT:.0%} with power 80 % (fixed); {N_EXPERIMENTS:,} runs"
    )
    targets = []
    for outcome, known in METRICS:
        planned = plan_size(known, Design(), MINIMUM_EFFECT)
        rule = GuardrailRule("decrease", round(EARLY * planned.total), MARGIN)
        for run in RUNS:
            estimates = _simulate(outcome, planned.units[0], run)
            stopped = find_stops(estimates, rule)
            rate = float(stopped.any(axis=1).mean())
            first = np.where(stopped.any(axis=1), stopped.argmax(axis=1) + 1, stopped.shape[1])
            share = float(np.median(first)) / stopped.shape[1] * run.until
            print(
                f"{outcome.name:<12}{run.name:<24}of {planned.total:>9,} units, within "
                f"{run.until:.0%}: stopped {rate:.1%}; median {share:.1%} of the traffic"
            )
            harmful = run.effect < -MARGIN
            bound = "at least 95 %" if harmful else "at most 5 %"
            name = f"guardrail of {outcome.name}, {run.name}, stopped in {bound}"
            targets.append(Target(name, f"{rate:.1%}", rate >= 0.95 if harmful else rate <= 0.05))
            targets.append(_check_library(estimates, rule, stopped, f"{outcome.name}, {run.name}"))
    return targets


def _simulate(outcome: UnitOutcome, n_planned: int, run: _Run) -> TrialEstimates:
    n_looks = round(N_LOOKS * run.until / EARLY)
    step = max(1, round(n_planned * run.until / n_looks))
    return run_trials(outcome, Trial(N_EXPERIMENTS, n_looks, step, step, run.effect), SEED + 3)


def find_stops(estimates: TrialEstimates, rule: GuardrailRule) -> np.ndarray:
    """Return where the rule stops. [experiments, looks]"""
    treatment, control = estimates.treatment, estimates.control
    kept = 1 - rule.margin
    allowed = SideEstimates(control.n, kept * control.means, kept**2 * control.variances)
    scores = divide(allowed.means - treatment.means, compute_repeated_errors(treatment, allowed))
    shares = (treatment.n + control.n) / rule.planned_units
    multiples = [compute_one_sided_multiple(float(share), rule.level) for share in shares]
    return np.asarray(scores > np.asarray(multiples))


def _check_library(
    estimates: TrialEstimates, rule: GuardrailRule, stopped: np.ndarray, name: str
) -> Target:
    rng = np.random.default_rng(SEED)
    n_equal = 0
    for _ in range(N_CHECKS):
        experiment = int(rng.integers(stopped.shape[0]))
        look = int(rng.integers(stopped.shape[1]))
        sides = [side.select(experiment, look) for side in (estimates.treatment, estimates.control)]
        evidence = evaluate_guardrail(sides[0], sides[1], rule)
        must_stop = evidence is not None and evidence.must_stop
        n_equal += must_stop == bool(stopped[experiment, look])
    measured = f"{n_equal} of {N_CHECKS}"
    return Target(f"guardrail, {name}, looks decided alike", measured, n_equal == N_CHECKS)
