"""A/A experiments looked at many times: how often each analysis calls a difference."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from experiments.analysis.group_sequential import LEVEL, compare_at_look, find_bounds
from experiments.analysis.power import Design, plan_size
from experiments.analysis.sequential import (
    compare_always_valid,
    compute_multiple,
    compute_one_sided_multiple,
)
from experiments.analysis.statistics import compare_means
from features.contracts.arrays import BoolArray, Float64Array
from tests.benchmarks.experiments.outcomes import (
    KNOWN_CLICKS,
    ClickThrough,
    Conversion,
    Revenue,
    Spend,
    UnitOutcome,
)
from tests.benchmarks.experiments.pilot import learn_outcome
from tests.benchmarks.experiments.simulation import SEED, Trial, TrialEstimates, run_trials
from tests.benchmarks.targets import Target

N_EXPERIMENTS = 20_000
N_LOOKS = 30
MINIMUM_EFFECT = 0.1
"""The size is that of a fixed test planned for this effect with a power of 80 %."""
OUTCOMES: tuple[UnitOutcome, ...] = (Conversion(), Revenue(), ClickThrough(), KNOWN_CLICKS, Spend())
N_CHECKS = 300
SHARES = tuple((look + 1) / N_LOOKS for look in range(N_LOOKS))
SPENDINGS = ("obrien_fleming", "pocock")


def measure_false_positives() -> list[Target]:
    """Print a line per outcome and return the targets."""
    print(f"A/A experiments, {N_EXPERIMENTS:,} of each outcome, {N_LOOKS} looks; called different")
    print(
        f"{'outcome':<15}{'units':>8}{'fixed, 1 look':>15}{'fixed, 30 looks':>17}"
        f"{'always-valid':>14}{'OBrien-Fleming':>16}{'Pocock':>9}"
    )
    targets = []
    for outcome in OUTCOMES:
        planned = plan_size(learn_outcome(outcome), Design(), MINIMUM_EFFECT)
        step = math.ceil(planned.units[0] / N_LOOKS)
        trial = Trial(N_EXPERIMENTS, N_LOOKS, step, step)
        estimates = run_trials(outcome, trial)
        scores = np.abs(estimates.scores)
        critical = compute_critical(estimates)
        always_valid = exceed(scores, [compute_multiple(share) for share in SHARES])
        grouped = [exceed(scores, find_bounds(SHARES, LEVEL, kind)) for kind in SPENDINGS]
        fixed_scores = np.abs(estimates.fixed_scores)
        fixed = fixed_scores[:, -1] > critical[:, -1]
        peeking = (fixed_scores > critical).any(axis=1)
        rates = [float(np.mean(called)) for called in (fixed, peeking, always_valid, *grouped)]
        print(
            f"{outcome.name:<15}{2 * step * N_LOOKS:>8,}{rates[0]:>15.2%}{rates[1]:>17.1%}"
            f"{rates[2]:>14.2%}{rates[3]:>16.2%}{rates[4]:>9.2%}"
        )
        name = f"A/A, {outcome.name}"
        targets += [
            Target(f"{name}, fixed, 4 to 6 %", f"{rates[0]:.2%}", 0.04 <= rates[0] <= 0.06),
            Target(f"{name}, always-valid, at most 5 %", f"{rates[2]:.2%}", rates[2] <= LEVEL),
        ]
        for kind, rate in zip(SPENDINGS, rates[3:], strict=True):
            measured = f"{rate:.2%}"
            is_met = abs(rate - LEVEL) <= 0.005
            targets.append(Target(f"{name}, {kind}, 4.5 to 5.5 %", measured, is_met))
        targets.append(check_library(estimates, outcome.name))
    return targets


RAMP_STEPS = (900, 100)
RAMP_OUTCOMES: tuple[UnitOutcome, ...] = (
    Conversion("rare buyers", rate=0.01),
    Revenue("rare revenue", rate=0.01, log_sd=1.5),
    Spend(log_sd=1.0),
)


def measure_ramps() -> list[Target]:
    """Print how often a variant with a tenth of the units is called different, or harmful.

    Looks begin when it has met next to no event: its own variance would be far too small.
    """
    print(f"A/A experiments split 9 to 1, {N_LOOKS} looks every {sum(RAMP_STEPS):,} units")
    targets = []
    for outcome in RAMP_OUTCOMES:
        control_step, treatment_step = RAMP_STEPS
        estimates = run_trials(outcome, Trial(N_EXPERIMENTS, N_LOOKS, control_step, treatment_step))
        harms = [compute_one_sided_multiple(share) for share in SHARES]
        for kind, scores, bounds in (
            ("different", np.abs(estimates.scores), [compute_multiple(share) for share in SHARES]),
            ("harmful", -estimates.scores, harms),
        ):
            rate = float(exceed(scores, bounds).mean())
            own = np.abs(estimates.fixed_scores) if kind == "different" else -estimates.fixed_scores
            plain = float(exceed(own, bounds).mean())
            print(f"{outcome.name:<15}{kind:<11}{rate:>8.2%}  (by its own variance {plain:.1%})")
            name = f"A/A, 9 to 1, {outcome.name}, called {kind} at any look in at most 5 %"
            targets.append(Target(name, f"{rate:.2%}", rate <= LEVEL))
    return targets


def exceed(scores: Float64Array, bounds: list[float] | tuple[float, ...]) -> BoolArray:
    """Return which experiments crossed a bound at some look."""
    return np.asarray((scores > np.asarray(bounds)).any(axis=1))


def compute_critical(estimates: TrialEstimates) -> Float64Array:
    """Return the 97.5 % points of Welch's t. [experiments, looks]"""
    sides = (estimates.treatment, estimates.control)
    parts = [side.variances / side.n for side in sides]
    below = sum(part**2 / (side.n - 1) for part, side in zip(parts, sides, strict=True))
    total = (parts[0] + parts[1]) ** 2
    freedom = np.divide(total, below, out=np.ones_like(total), where=below > 0)
    return np.asarray(stats.t.isf(LEVEL / 2, freedom))


def check_library(estimates: TrialEstimates, name: str) -> Target:
    """Return whether the scalar functions decide as the vectorised rules at random looks."""
    rng = np.random.default_rng(SEED)
    critical, scores = compute_critical(estimates), np.abs(estimates.scores)
    fixed_scores = np.abs(estimates.fixed_scores)
    n_equal = 0
    for _ in range(N_CHECKS):
        experiment, look = int(rng.integers(N_EXPERIMENTS)), int(rng.integers(1, N_LOOKS))
        treatment = estimates.treatment.select(experiment, look)
        control = estimates.control.select(experiment, look)
        score, fixed_score = scores[experiment, look], fixed_scores[experiment, look]
        planned = int(estimates.treatment.n[-1] + estimates.control.n[-1])
        always_valid = compare_always_valid(treatment, control, planned_units=planned)
        fixed = compare_means(treatment, control)
        grouped = compare_at_look(treatment, control, shares=SHARES[: look + 1])
        if fixed is None or always_valid is None or grouped is None:
            n_equal += score == 0
            continue
        n_equal += (
            (fixed.p_value < LEVEL) == (fixed_score > critical[experiment, look])
            and (always_valid.p_value < LEVEL) == (score > compute_multiple(SHARES[look]))
            and (grouped.decision in ("better", "worse"))
            == (score > find_bounds(SHARES[: look + 1])[-1])
        )
    measured = f"{n_equal} of {N_CHECKS}"
    return Target(
        f"A/A, {name}, looks that scalar functions decide alike", measured, n_equal == N_CHECKS
    )
