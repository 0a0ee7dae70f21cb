from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.arrays import Float64Array
from models.demand.blend import (
    METHODS,
    PRIOR_BLEND,
    SEGMENTS,
    TREES,
    TSB,
    Segment,
    Segments,
    expect_learner,
    fit_blend,
)
from models.demand.stacking import Evidence, Prior, fit_weights
from tests.shops.demand_panels import make_panel

MIDDLE = Segment(2, dense=True)
NAIVE = METHODS.index("naive")


def compare(
    actual: Float64Array, means: Float64Array, n_weeks: int = 12
) -> tuple[Evidence, Segments]:
    """Return evidence of one origin a week, all of one segment."""
    week = np.arange(len(actual)) % n_weeks + 20
    segments = Segments(np.full(len(actual), MIDDLE.volume), np.full(len(actual), MIDDLE.dense))
    return Evidence(actual, means, week - 1, week), segments


def draw(n_rows: int, seed: int = 1) -> tuple[Float64Array, Float64Array]:
    """Return Poisson counts, and forecasts of every method that err by chance, unbiased."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(4.0, 1.0, n_rows)
    errors = rng.gamma(8.0, 1 / 8, (n_rows, len(METHODS)))
    return rng.poisson(level).astype(float), level[:, None] * errors


def weights_of(evidence: Evidence, segments: Segments) -> Float64Array:
    return np.array(fit_blend(evidence, segments).weights[SEGMENTS.index(MIDDLE)])


def test_without_a_backtest_the_expected_methods_share_the_weight() -> None:
    none = np.zeros(0)
    evidence, segments = compare(none, np.zeros((0, len(METHODS))))
    assert fit_blend(evidence, segments) == PRIOR_BLEND
    weights = np.array(PRIOR_BLEND.weights)
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(SEGMENTS)))
    assert weights[:, TREES].max() == 0.0
    assert weights[:, NAIVE].max() == 0.0


@pytest.mark.parametrize("method", [TREES, TSB, NAIVE])
def test_the_method_that_was_right_gets_the_weight(method: int) -> None:
    sold, means = draw(5_000)
    means[:, method] = sold
    assert weights_of(*compare(sold, means))[method] > 0.9


def test_a_learner_that_is_no_better_gets_little_from_few_rows() -> None:
    sold, means = draw(40)
    assert weights_of(*compare(sold, means))[TREES] < 0.2


def test_a_learner_that_alone_knows_the_plans_starts_with_half_the_weight() -> None:
    plain = make_panel(n_series=4)
    assert expect_learner(plain) == 0.5  # it has a mailer
    assert expect_learner(replace(plain, kinds=(), reach=plain.reach[:0])) == 0.0
    sold, means = draw(40)
    weights = [
        np.array(fit_blend(*compare(sold, means), share).weights[SEGMENTS.index(MIDDLE)])[TREES]
        for share in (0.0, 0.5)
    ]
    assert weights[0] < 0.2 < 0.25 < weights[1]


def test_a_bias_that_every_week_shows_is_taken_out() -> None:
    sold, means = draw(5_000)
    blend_of = {}
    for factor in (1.0, 0.9):
        evidence, segments = compare(sold, factor * means)
        blend_of[factor] = fit_blend(evidence, segments)
    low = blend_of[0.9].combine(0.9 * means, segments)
    assert low.sum() == pytest.approx(sold.sum(), rel=0.02)  # the bias is shrunk a little to 0


def test_a_learner_that_is_far_off_gets_nothing() -> None:
    sold, means = draw(2_000)
    means[:, TREES] *= 3
    assert weights_of(*compare(sold, means))[TREES] < 0.02


def test_origins_without_the_learner_choose_among_the_simple_methods() -> None:
    sold, means = draw(2_000)
    means[:, TREES] = np.nan
    means[:, NAIVE] = sold
    weights = weights_of(*compare(sold, means))
    assert weights[TREES] == 0.0
    assert weights[NAIVE] > 0.9


def test_a_segment_departs_from_the_shop_only_by_its_own_backtests() -> None:
    sold, means = draw(6_000)
    evidence, _ = compare(sold, means)
    volume = np.where(np.arange(6_000) < 3_000, 2, 4)
    segments = Segments(volume, np.full(6_000, True))
    means[:3_000, NAIVE] = sold[:3_000]
    blend = fit_blend(evidence, segments)
    first, second, empty = (
        np.array(blend.weights[SEGMENTS.index(Segment(volume, dense=True))]) for volume in (2, 4, 6)
    )
    assert first[NAIVE] > empty[NAIVE] > second[NAIVE]


def test_the_blend_of_unbiased_forecasts_is_unbiased_where_the_median_is_lower() -> None:
    rng = np.random.default_rng(3)
    sold = rng.poisson(0.4, 20_000).astype(float)  # median 0
    means = rng.gamma(8.0, 0.4 / 8, (20_000, len(METHODS)))
    means[:, NAIVE] = 0.0  # the forecast of smallest absolute error
    evidence, segments = compare(sold, means)
    blended = fit_blend(evidence, segments).combine(means, segments)
    assert blended.mean() == pytest.approx(0.4, rel=0.05)  # standard error of the mean sold: 1 %


@given(st.integers(0, 60), st.integers(2, 6), st.floats(0.01, 2.0), st.integers(0, 10_000))
def test_weights_are_shares(n_rows: int, n_methods: int, deviation: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    week = rng.integers(0, 9, n_rows)
    means = rng.gamma(1.0, 2.0, (n_rows, n_methods))
    evidence = Evidence(rng.poisson(2.0, n_rows).astype(float), means, week, week + 1)
    prior = Prior(np.full(n_methods, 1 / n_methods), deviation)
    weights = fit_weights(evidence, prior)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
