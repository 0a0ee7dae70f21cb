"""Simulated outcomes have the sums, the truth and the correlation that they state."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.analysis.estimates import (
    UnitMoments,
    adjust,
    estimate_metric,
    fit_adjustment,
)
from experiments.analysis.sums import UnitSums
from tests.benchmarks.experiments.outcomes import (
    KNOWN_CLICKS,
    ClickThrough,
    Conversion,
    Revenue,
    Spend,
    UnitOutcome,
    sum_columns,
)

OUTCOMES: tuple[UnitOutcome, ...] = (
    Conversion(),
    Revenue(),
    ClickThrough(),
    KNOWN_CLICKS,
    Spend(),
)


def test_running_sums_are_those_of_the_units_until_a_look() -> None:
    rng = np.random.default_rng(1)
    columns = {
        name: rng.integers(0, 9, (1, 3, 40)).astype(float)
        for name in ("value", "base", "prior_value", "prior_base", "is_new")
    }
    for names in (list(columns), ["value"], ["value", "base"], ["value", "prior_value", "is_new"]):
        chosen = {name: columns[name] for name in names}
        moments = sum_columns(chosen).compute_moments()
        units = {name: column[0, :2].ravel() for name, column in chosen.items()}
        sums = UnitSums.from_units(units)
        assert moments.means[0, 1] == pytest.approx(sums.compute_means())
        assert moments.covariances[0, 1] == pytest.approx(sums.compute_covariances())
        estimate = estimate_metric({"a": sums})["a"]
        alone = UnitMoments(moments.means[:, 1], moments.covariances[:, 1])
        mean, variance = adjust(alone, fit_adjustment(alone))
        assert (mean[0], variance[0]) == pytest.approx((estimate.mean, estimate.variance))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.name)
@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_the_truth_is_met(outcome: UnitOutcome, effect: float) -> None:
    """A sample of 400,000 units is within four standard errors of the stated truth."""
    draws = outcome.draw(np.random.default_rng(2), (1, 2, 200_000), effect)
    moments = draws.compute_moments()
    last = UnitMoments(moments.means[0, -1], moments.covariances[0, -1])
    mean, variance = adjust(last, fit_adjustment(last))
    error = float(np.sqrt(variance / 400_000))
    assert float(mean) == pytest.approx(outcome.compute_truth(effect), abs=4 * error)


def test_the_stated_correlation_and_variance_are_met() -> None:
    """400,000 units; the standard error of a correlation of .7 is below .004 here."""
    outcome = Spend(share_new=0.0)
    moments = outcome.draw(np.random.default_rng(3), (1, 1, 400_000), 0.0).compute_moments()
    covariances = moments.covariances[0, 0]
    correlation = covariances[0, 2] / np.sqrt(covariances[0, 0] * covariances[2, 2])
    assert correlation == pytest.approx(outcome.compute_correlation(), abs=0.016)
    revenue = Revenue(log_sd=0.5)
    moments = revenue.draw(np.random.default_rng(3), (1, 1, 400_000), 0.0).compute_moments()
    assert moments.covariances[0, 0, 0, 0] == pytest.approx(revenue.compute_variance(), rel=0.04)
