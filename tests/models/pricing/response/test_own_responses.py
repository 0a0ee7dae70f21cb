"""Known slopes of single series, and the error that series of a group share."""

import numpy as np
import pytest

from models.pricing.response.own_responses import fit_own_responses, measure_shared_errors
from models.pricing.response.shrink_responses import shrink_responses
from models.pricing.response.treatments import combine_treatments

TRUTH = np.array([-2.0, -3.0, 0.3])


def draw_series(rng, n, n_weeks, common=0.0):
    """Weights, treatments and units of n series of responses `TRUTH`.

    `common` is the standard deviation of shocks that all series share, which differ by whether a
    price is above or below its mean.
    """
    regular = rng.choice([-0.1, 0.1], (1, n_weeks)) + 0.02 * rng.normal(size=(n, n_weeks))
    announced = (rng.random((n, n_weeks)) < 0.3) * 1.0
    depth = -announced * rng.uniform(0.1, 0.4, (n, n_weeks))
    treatments = np.stack([regular, depth, announced])
    treatments -= treatments.mean(2, keepdims=True)
    units = combine_treatments(np.tile(TRUTH, (n, 1)), treatments)
    units += 0.2 * rng.normal(size=(n, n_weeks)) + common * rng.normal(size=(1, n_weeks))
    return np.ones((n, n_weeks)), treatments, units


def test_known_slopes_and_their_errors():
    rng = np.random.default_rng(4)
    own = fit_own_responses(*draw_series(rng, 200, 150))
    assert own.estimate.mean(0) == pytest.approx(TRUTH, abs=0.05)
    covariance = np.linalg.inv(own.messages.precision)
    errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    estimates = np.einsum("nij,nj->ni", covariance, own.messages.weighted)
    # 90 % of a normal lies within 1.645 standard errors; 200 draws: at least 168 with p > .99
    within = np.abs(estimates - TRUTH) < 1.645 * errors
    assert (within.sum(0) >= 168).all() and (within.sum(0) <= 194).all()


def test_few_weeks_with_a_reduction_do_not_look_surer_than_they_are():
    rng = np.random.default_rng(7)
    weights, treatments, _ = draw_series(rng, 400, 60)
    reduced = np.zeros(60)
    reduced[[7, 21, 40, 55]] = 1.0  # what a response is learnt from: the fit follows their noise
    treatments = treatments * np.array([1.0, 0.0, 0.0])[:, None, None]
    treatments[1] = -reduced * rng.uniform(0.1, 0.4, (400, 60))
    treatments[2] = reduced
    units = combine_treatments(np.tile(TRUTH, (400, 1)), treatments)
    units = units + 0.2 * rng.normal(size=units.shape)
    messages = fit_own_responses(weights, treatments, units).messages
    scores = messages.weighted - messages.precision @ TRUTH
    observed, stated = scores.T @ scores, messages.precision.sum(0)
    ratio = np.trace(np.linalg.solve(stated, observed)) / 3
    assert 0.8 < ratio < 1.25


def test_weeks_of_weight_0_do_not_count():
    rng = np.random.default_rng(5)
    weights, treatments, units = draw_series(rng, 3, 60)
    weights[:, 40:] = 0
    spoilt = np.where(weights > 0, units, 99.0)
    spoilt = np.where(weights > 0, spoilt, 0.0)
    whole = fit_own_responses(weights, treatments, spoilt)
    part = fit_own_responses(weights[:, :40], treatments[:, :, :40], units[:, :40])
    assert whole.estimate == pytest.approx(part.estimate)


def test_a_shock_that_all_share_is_an_error_that_all_share():
    rng = np.random.default_rng(6)
    groups = np.zeros(40, np.int64)
    calm = fit_own_responses(*draw_series(rng, 40, 120))
    assert measure_shared_errors(calm, groups)[0, 0, 0] < 0.05**2
    shaken = fit_own_responses(*draw_series(rng, 40, 120, common=0.3))
    # A common shock of .3 on a regressor of .1 over 120 weeks that all series have in common.
    expected = 0.3**2 / (0.1**2 * 120)
    assert measure_shared_errors(shaken, groups)[0, 0, 0] == pytest.approx(expected, rel=0.5)


def test_intervals_hold_the_truth_where_weeks_have_common_shocks():
    """Over 60 shops of 20 items: the mean response lies within 1.645 errors in 47 at least."""
    rng = np.random.default_rng(7)
    levels = [np.repeat([0, 1], 10), np.zeros(20, np.int64)]
    n_within = 0
    for _ in range(60):
        own = fit_own_responses(*draw_series(rng, 20, 100, common=0.3))
        shrunken = shrink_responses(own, levels)
        error = np.abs(shrunken.mean[0, 0] - TRUTH[0])
        n_within += bool(error < 1.645 * np.sqrt(shrunken.covariance[0, 0, 0]))
    assert n_within >= 47


def test_where_all_reductions_are_alike_step_and_depth_have_the_errors_of_the_prior():
    rng = np.random.default_rng(9)
    weights, treatments, units = draw_series(rng, 30, 80, common=0.1)
    treatments[1] = -0.3 * treatments[2]  # every reduction has the same depth
    own = fit_own_responses(weights, treatments, units)
    shrunken = shrink_responses(own, [np.zeros(30, np.int64)])
    errors = np.sqrt(np.diagonal(shrunken.covariance, axis1=1, axis2=2))
    assert (errors[:, 1] < 1.5).all() and (errors[:, 2] < 0.5).all()
    # What is known is step and depth together, of a reduction by .3.
    together = np.array([0.0, -0.3, 1.0])
    variances = np.einsum("i,nij,j->n", together, shrunken.covariance, together)
    assert (np.sqrt(variances) < 0.15).all()
