"""What each series' own weeks say of its price responses, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.response.hierarchy import Messages
from models.pricing.response.treatments import N_TREATMENTS, combine_treatments

# The noise of a short series is itself uncertain: it borrows so many weeks of the pooled one.
_BORROWED_WEEKS = 10
# Errors of neighbouring weeks are correlated: scores are summed over blocks of so many weeks.
_BLOCK_WEEKS = 2
# A weak prior where a response has no evidence at all; it only makes least squares solvable.
_RIDGE = np.array([0.02, 0.02, 0.2])
_CENTRE = np.array([-2.6, -2.6, 0.1])
_LEAST_DESIGN, _LARGEST_DESIGN = 0.8, 4.0
_ROWS_AT_ONCE = 5_000  # series, of products of all weeks


@dataclass(frozen=True)
class OwnResponses:
    """Least squares of each series alone.

    messages    precision and weighted estimates, for `fit_tree`
    estimate    (S, 3), weakly regularised
    scores      (3, S, B) derivatives of the likelihood, summed over blocks of weeks
    """

    messages: Messages
    estimate: Float64Array
    scores: Float64Array


def fit_own_responses(
    weights: Float64Array, treatments: Float64Array, units: Float64Array
) -> OwnResponses:
    """Return weighted least squares of units (S, W) on treatments (3, S, W), series by series.

    The noise is that of the series' residuals; the precision is divided by the design effect, the
    mean ratio of the scores' variance to the one that independent weeks would have. A block of
    weeks with much of what a series shows of a response has small residuals, since the response
    follows them: its scores vary by less (Bell and McCaffrey, Bias reduction in standard errors for
    linear regression with multi-stage samples, Survey Methodology 2002), and the ratio is to that.
    """
    products = np.einsum("sw,asw,bsw->sab", weights, treatments, treatments, optimize=True)
    sums = np.einsum("sw,asw,sw->sa", weights, treatments, units, optimize=True)
    system = products + np.diag(_RIDGE)
    estimate = np.linalg.solve(system, (sums + _RIDGE * _CENTRE)[:, :, None])[:, :, 0]
    residual = units - combine_treatments(estimate, treatments)
    n_weeks = (weights > 0).sum(1)
    noise = (weights * residual**2).sum(1) / np.maximum(n_weeks - N_TREATMENTS - 1, 1)
    pooled = float((noise * n_weeks).sum() / max(n_weeks.sum(), 1))
    noise = (noise * n_weeks + pooled * _BORROWED_WEEKS) / (n_weeks + _BORROWED_WEEKS)
    noise = np.maximum(noise, 1e-9)
    scores = _sum_blocks(weights * residual / noise[:, None] * treatments)
    precision = products / noise[:, None, None]
    expected = _expect_scores(weights / noise[:, None], treatments, system / noise[:, None, None])
    effect = _measure_design_effect(scores, expected)
    targets = sums / noise[:, None]
    return OwnResponses(
        messages=Messages(precision / effect, targets / effect),
        estimate=estimate,
        scores=scores / np.sqrt(effect),
    )


def _sum_blocks(values: Float64Array) -> Float64Array:
    """Return sums of values (..., W) over blocks of weeks (..., B)."""
    starts = np.arange(0, values.shape[-1], _BLOCK_WEEKS)
    return np.add.reduceat(values, starts, axis=-1)


def _expect_scores(
    weights: Float64Array, treatments: Float64Array, total: Float64Array
) -> Float64Array:
    """Return the covariance (3, 3) that scores of independent weeks have, summed over all blocks.

    With the precision P of a block and T of all weeks of the series (S, 3, 3), P - P T⁻¹ P.
    """
    covariance = np.zeros((N_TREATMENTS, N_TREATMENTS))
    for rows in np.array_split(np.arange(len(weights)), len(weights) // _ROWS_AT_ONCE + 1):
        of_rows = treatments[:, rows]
        of_weeks = weights[rows] * of_rows[:, None] * of_rows[None]
        precision = _sum_blocks(of_weeks)
        covariance += precision.sum((2, 3))
        inverse = np.linalg.inv(total[rows])
        covariance -= np.einsum("absn,sbc,cdsn->ad", precision, inverse, precision, optimize=True)
    return covariance


def _measure_design_effect(scores: Float64Array, expected: Float64Array) -> float:
    """Return the variance of scores (3, S, B) over the expected one (3, 3), both pooled."""
    observed = np.einsum("asb,csb->ac", scores, scores, optimize=True)
    stated = expected + 1e-9 * np.eye(N_TREATMENTS)
    effect = float(np.trace(np.linalg.solve(stated, observed))) / N_TREATMENTS
    return float(np.clip(effect, _LEAST_DESIGN, _LARGEST_DESIGN))


def measure_shared_errors(own: OwnResponses, groups: Int64Array) -> Float64Array:
    """Return the covariance (G, 3, 3) of the error that the estimates of a group share.

    Series of a group move together in a week for reasons that nothing here explains, so errors are
    clustered by week (Cameron and Miller, A practitioner's guide to cluster-robust inference,
    2015): the scores of a group vary by more than those of its members do. The excess per pair of
    series is pooled over the groups, for each treatment apart: list prices often move together.
    """
    n = int(groups.max()) + 1
    precision = own.messages.precision
    summed = np.zeros((N_TREATMENTS, n, own.scores.shape[2]))
    for of_group, of_series in zip(summed, own.scores, strict=True):
        np.add.at(of_group, groups, of_series)
    clustered = np.einsum("agb,cgb->gac", summed, summed, optimize=True)
    alone = np.einsum("asb,csb->sac", own.scores, own.scores, optimize=True)
    independent, total = np.zeros((2, n, N_TREATMENTS, N_TREATMENTS))
    np.add.at(independent, groups, alone)
    np.add.at(total, groups, precision)
    size = np.trace(precision, axis1=1, axis2=2)
    n_effective = np.bincount(groups, size, n) ** 2 / np.maximum(
        np.bincount(groups, size**2, n), 1e-12
    )
    inverse = np.linalg.inv(total + 1e-6 * np.eye(N_TREATMENTS))
    n_pairs = float((n_effective - 1).sum())
    if n_pairs <= 0:
        return np.zeros((n, N_TREATMENTS, N_TREATMENTS))
    of_scores = np.diagonal(clustered - independent, axis1=1, axis2=2)
    stated = np.diagonal(total, axis1=1, axis2=2)
    excess = (of_scores / np.maximum(stated, 1e-6)).sum(0)
    root = np.sqrt(np.maximum(excess / n_pairs, 0.0))
    return np.asarray(np.outer(root, root) * (n_effective - 1)[:, None, None] * inverse)
