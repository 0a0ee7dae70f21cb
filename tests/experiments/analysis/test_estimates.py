"""Means, ratios and adjusted estimates agree with tea-tasting and with simulated truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting as tt

from experiments.analysis.estimates import (
    compute_explained_share,
    estimate_metric,
    estimate_prior,
)
from experiments.analysis.moments import Moments
from experiments.analysis.relative import compare_relative
from experiments.analysis.statistics import compare_means
from experiments.analysis.sums import NO_UNITS, UnitSums

SIX_DIGITS = 1e-6


def make_units(n: int = 4_000) -> dict[str, np.ndarray]:
    """Return units of two variants: orders and revenue in two periods that have users in common."""
    rng = np.random.default_rng(4)
    taste = rng.gamma(1.0, 1.0, n)
    variant = rng.integers(0, 2, n)
    prior_base, base = rng.poisson(1 + taste), rng.poisson(1 + taste * (1 + 0.1 * variant))
    price = rng.lognormal(3.0, 0.6, n)
    return {
        "variant": variant,
        "value": np.round(base * price * rng.lognormal(0.0, 0.3, n)).astype(int),
        "base": base,
        "prior_value": np.round(prior_base * price * rng.lognormal(0.0, 0.3, n)).astype(int),
        "prior_base": prior_base,
    }


def add_units(units: dict[str, np.ndarray], names: list[str]) -> dict[str, UnitSums]:
    return {
        variant: UnitSums.from_units(
            {name: units[name][units["variant"] == code] for name in names}
        )
        for code, variant in ((0, "control"), (1, "treatment"))
    }


METRICS = {
    "mean": (["value"], tt.Mean("value", use_t=True)),
    "adjusted mean": (["value", "prior_value"], tt.Mean("value", "prior_value", use_t=True)),
    "ratio": (["value", "base"], tt.RatioOfMeans("value", "base", use_t=True)),
    "adjusted ratio": (
        ["value", "base", "prior_value", "prior_base"],
        tt.RatioOfMeans("value", "base", "prior_value", "prior_base", use_t=True),
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_differences_agree_with_tea_tasting_to_six_digits(name: str) -> None:
    columns, metric = METRICS[name]
    units = make_units()
    result = tt.Experiment({"metric": metric}, variant="variant").analyze(pa.table(units))["metric"]
    moments = estimate_metric(add_units(units, columns))
    treatment, control = moments["treatment"], moments["control"]
    difference = compare_means(treatment, control)
    relative = compare_relative(treatment, control)
    assert difference is not None
    assert relative is not None
    ours = (
        *(control.mean, treatment.mean, difference.value, difference.low, difference.high),
        *(difference.p_value, relative.value, relative.low, relative.high),
    )
    theirs = (
        *(result.control, result.treatment, result.effect_size),
        *(result.effect_size_ci_lower, result.effect_size_ci_upper, result.pvalue),
        *(result.rel_effect_size, result.rel_effect_size_ci_lower),
        result.rel_effect_size_ci_upper,
    )
    assert ours == pytest.approx(theirs, rel=SIX_DIGITS)


def test_a_mean_without_a_past_is_the_plain_mean() -> None:
    sums = {
        "a": UnitSums.from_units({"value": [1, 2, 6]}),
        "b": UnitSums.from_units({"value": [4]}),
    }
    estimates = estimate_metric({**sums, "c": NO_UNITS})
    assert estimates["a"] == Moments(3, 3.0, 7.0)
    assert estimates["b"] == Moments(1, 4.0, None)
    assert estimates["c"] == Moments(0, None, None)


def test_a_ratio_without_a_denominator_has_no_mean() -> None:
    sums = {
        "a": UnitSums.from_units({"value": [0, 0], "base": [0, 0]}),
        "b": UnitSums.from_units({"value": [2, 4], "base": [1, 1]}),
    }
    estimates = estimate_metric(sums)
    assert estimates["a"].mean is None
    assert estimates["b"].mean == 3


def test_the_delta_method_by_hand() -> None:
    """Ratio 6 / 4; influences (value - 1.5 base) / 2 are -.25 and .25, their variance .125."""
    sums = {"a": UnitSums.from_units({"value": [1, 5], "base": [1, 3]})}
    assert estimate_metric(sums)["a"] == Moments(2, 1.5, pytest.approx(0.125))


def test_adjustment_removes_what_the_past_explains() -> None:
    """An outcome that is twice the past has no variance left, and no difference but its own."""
    prior = np.array([1, 2, 3, 4, 5, 6])
    sums = {
        "control": UnitSums.from_units({"value": 2 * prior[:3], "prior_value": prior[:3]}),
        "treatment": UnitSums.from_units({"value": 2 * prior[3:], "prior_value": prior[3:]}),
    }
    estimates = estimate_metric(sums)
    assert estimates["treatment"].mean == pytest.approx(estimates["control"].mean)
    assert estimates["control"].variance == pytest.approx(0.0, abs=1e-12)
    assert compute_explained_share(list(sums.values())) == pytest.approx(1.0)


@pytest.mark.parametrize("with_base", [False, True])
def test_new_units_keep_a_mean_of_their_own(with_base: bool) -> None:
    """With the indicator the adjusted error is not above the plain one, and below that without.

    Half of the units are new and buy less: a past of 0 alone would mistake them for known units
    that bought nothing.
    """
    rng = np.random.default_rng(11)
    n = 20_000
    is_new = rng.integers(0, 2, n)
    taste = rng.gamma(4.0, 1.0, n)
    units = {
        "variant": rng.integers(0, 2, n),
        "value": rng.poisson(np.where(is_new == 1, 8.0, taste)),
        "prior_value": np.where(is_new == 1, 0, rng.poisson(taste)),
        "is_new": is_new,
    }
    names = ["value", "prior_value", "is_new"]
    if with_base:
        units |= {
            "base": rng.poisson(2.0, n) + 1,
            "prior_base": np.where(is_new == 1, 0, rng.poisson(2.0, n) + 1),
        }
        names += ["base", "prior_base"]
    plain = [name for name in names if not name.startswith("prior") and name != "is_new"]
    errors = [
        estimate_metric(add_units(units, chosen))["treatment"].variance
        for chosen in (names, [name for name in names if name != "is_new"], plain)
    ]
    assert None not in errors
    assert errors[0] < 0.98 * errors[1]  # type: ignore[operator]
    assert errors[0] < errors[2]  # type: ignore[operator]


def test_the_adjustment_of_known_units_is_that_of_known_units_alone() -> None:
    """With the indicator, theta is the slope among units with a past: here exactly 3."""
    prior = np.array([1, 2, 3, 4, 0, 0, 0, 0])
    is_new = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    value = np.where(is_new == 1, 50, 3 * prior + 7)
    sums = {
        "control": UnitSums.from_units(
            {"value": value[::2], "prior_value": prior[::2], "is_new": is_new[::2]}
        ),
        "treatment": UnitSums.from_units(
            {"value": value[1::2], "prior_value": prior[1::2], "is_new": is_new[1::2]}
        ),
    }
    estimates = estimate_metric(sums)
    # All that differs is explained: both variants have the overall mean and no error.
    assert estimates["control"].mean == pytest.approx(value.mean())
    assert estimates["treatment"].mean == pytest.approx(value.mean())
    assert estimates["treatment"].variance == pytest.approx(0.0, abs=1e-9)


def test_a_constant_ratio_has_no_variance_and_explains_nothing() -> None:
    """3 / 7 is no binary fraction: what rounding leaves of the variance must not be divided by."""
    base = np.array([7, 14, 21, 70])
    sums = {"a": UnitSums.from_units({"value": 3 * base // 7, "base": base})}
    assert estimate_metric(sums)["a"] == Moments(4, 3 / 7, 0.0)
    with_past = {
        "a": UnitSums.from_units(
            {"value": [1, 5], "base": [1, 3], "prior_value": [3, 6], "prior_base": [7, 14]}
        )
    }
    assert estimate_metric(with_past)["a"] == Moments(2, 1.5, pytest.approx(0.125))
    assert compute_explained_share(list(with_past.values())) == 0


def test_the_pre_period_alone() -> None:
    sums = UnitSums.from_units(
        {"value": [0, 0], "base": [1, 1], "prior_value": [1, 5], "prior_base": [1, 3]}
    )
    assert estimate_prior(sums) == Moments(2, 1.5, pytest.approx(0.125))
    assert estimate_prior(UnitSums.from_units({"value": [1]})).mean is None


def test_relative_differences_need_positive_means() -> None:
    assert compare_relative(Moments(5, -1.0, 1.0), Moments(5, 1.0, 1.0)) is None
    assert compare_relative(Moments(5, 1.0, None), Moments(5, 1.0, 1.0)) is None
    same = compare_relative(Moments(5, 2.0, 1.0), Moments(5, 2.0, 1.0))
    assert same is not None
    assert same.value == 0
    assert (1 + same.low) * (1 + same.high) == pytest.approx(1)
