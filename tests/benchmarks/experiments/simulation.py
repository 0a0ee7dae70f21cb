"""Simulated experiments of a control and a treatment, estimated at every look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.analysis.estimates import Adjustment, adjust, fit_adjustment
from experiments.analysis.moments import Moments
from experiments.analysis.sequential import list_error_weights
from features.contracts.arrays import Float64Array, Int64Array
from tests.benchmarks.experiments.outcomes import UnitOutcome

SEED = 17
_UNITS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Trial:
    """How experiments are simulated.

    control_step, treatment_step   units of the variant between two looks
    effect                         relative, of the treatment
    use_past                       whether estimates are adjusted
    """

    n_experiments: int
    n_looks: int
    control_step: int
    treatment_step: int
    effect: float = 0.0
    use_past: bool = True


@dataclass(frozen=True)
class SideEstimates:
    """Estimates of one variant: units [looks], means and variances [experiments, looks]."""

    n: Int64Array
    means: Float64Array
    variances: Float64Array

    def select(self, experiment: int, look: int) -> Moments:
        """Return one estimate as the library has it."""
        mean, variance = self.means[experiment, look], self.variances[experiment, look]
        return Moments(int(self.n[look]), float(mean), float(variance))


@dataclass(frozen=True)
class TrialEstimates:
    """Estimates of both variants, and the scores of their difference. [experiments, looks]"""

    treatment: SideEstimates
    control: SideEstimates

    @property
    def differences(self) -> Float64Array:
        """Treatment minus control."""
        return np.asarray(self.treatment.means - self.control.means)

    @property
    def errors(self) -> Float64Array:
        """Standard errors of the differences."""
        parts = [side.variances / side.n for side in (self.treatment, self.control)]
        return np.asarray(np.sqrt(parts[0] + parts[1]))

    @property
    def fixed_scores(self) -> Float64Array:
        """Differences by the errors of Welch's test; 0 where nothing was observed yet."""
        return divide(self.differences, self.errors)

    @property
    def scores(self) -> Float64Array:
        """Differences by the errors for repeated looks; 0 where nothing was observed yet."""
        return divide(self.differences, compute_repeated_errors(self.treatment, self.control))


def compute_repeated_errors(treatment: SideEstimates, control: SideEstimates) -> Float64Array:
    """Return `sequential.compute_standard_error` of all experiments and looks."""
    squares = []
    pairs = zip(treatment.n.tolist(), control.n.tolist(), strict=True)
    weights = [list_error_weights(*pair) for pair in pairs]
    for kind in range(2):
        of_treatment = np.array([look[kind].treatment for look in weights])
        of_control = np.array([look[kind].control for look in weights])
        squares.append(of_treatment * treatment.variances + of_control * control.variances)
    return np.asarray(np.sqrt(np.maximum(*squares)))


def divide(differences: Float64Array, errors: Float64Array) -> Float64Array:
    """Return the scores; 0 where the error is 0."""
    return np.divide(differences, errors, out=np.zeros_like(errors), where=errors > 0)


def run_trials(outcome: UnitOutcome, trial: Trial, seed: int = SEED) -> TrialEstimates:
    """Return the estimates of all simulated experiments."""
    rng = np.random.default_rng(seed)
    step = max(trial.control_step, trial.treatment_step)
    at_once = max(1, _UNITS_AT_ONCE // (step * trial.n_looks))
    parts = []
    for start in range(0, trial.n_experiments, at_once):
        size = min(at_once, trial.n_experiments - start)
        parts.append(_run_some(outcome, trial, rng, size))
    sides = [
        SideEstimates(
            n=step * np.arange(1, trial.n_looks + 1),
            means=np.concatenate([part[side][0] for part in parts]),
            variances=np.concatenate([part[side][1] for part in parts]),
        )
        for side, step in enumerate((trial.treatment_step, trial.control_step))
    ]
    return TrialEstimates(*sides)


def _run_some(
    outcome: UnitOutcome, trial: Trial, rng: np.random.Generator, size: int
) -> list[tuple[Float64Array, Float64Array]]:
    control = outcome.draw(rng, (size, trial.n_looks, trial.control_step), 0.0)
    shape = (size, trial.n_looks, trial.treatment_step)
    treatment = outcome.draw(rng, shape, trial.effect)
    if trial.use_past:
        adjustment = fit_adjustment((control + treatment).compute_moments())
    else:
        nothing = np.zeros((size, trial.n_looks, 2))
        adjustment = Adjustment(nothing, nothing)
    return [adjust(side.compute_moments(), adjustment) for side in (treatment, control)]
