"""What a plan needs to know of a simulated metric, estimated from a pilot as in a shop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.analysis.estimates import adjust, fit_adjustment
from experiments.analysis.power import Outcome
from tests.benchmarks.experiments.outcomes import UnitOutcome
from tests.benchmarks.experiments.simulation import SEED

N_PILOT = 1_000_000


def learn_outcome(outcome: UnitOutcome) -> Outcome:
    """Return mean, variance and what the past explains, from a pilot of many units."""
    draws = outcome.draw(np.random.default_rng(SEED + 1), (1, 1, N_PILOT), 0.0)
    moments = draws.compute_moments()
    fitted = fit_adjustment(moments)
    nothing = replace(fitted, coefficients=np.zeros_like(fitted.coefficients))
    mean, variance = (float(value[0, 0]) for value in adjust(moments, nothing))
    left = float(adjust(moments, fitted)[1][0, 0])
    return Outcome(mean, variance, outcome.kind, explained_share=max(0.0, 1 - left / variance))
