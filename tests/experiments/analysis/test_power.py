"""Planned sizes: textbook answers, the reverse, and what each option costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.power import (
    AnalysisKind,
    Design,
    Outcome,
    OutcomeKind,
    compute_power,
    describe_proportion,
    find_detectable_change,
    plan_size,
)
from features.contracts.errors import BadInput

CONVERSION = describe_proportion(0.05)
REVENUE = Outcome(mean=4.0, variance=900.0)
KINDS: tuple[AnalysisKind, ...] = ("fixed", "always_valid", "group_sequential")


def test_a_proportion_by_the_textbook() -> None:
    """(z.975 + z.8)^2 (p0 q0 + p1 q1) / (p1 - p0)^2 units a variant."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    n = z**2 * (0.05 * 0.95 + 0.055 * 0.945) / 0.005**2
    assert plan_size(CONVERSION, Design(), 0.1).units == (math.ceil(n), math.ceil(n))


def test_an_amount_whose_variance_is_scaled() -> None:
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.9)
    n = z**2 * 900 * (1 + 1.05**2) / 0.2**2
    assert plan_size(REVENUE, Design(power=0.9), 0.05).units[0] == math.ceil(n)


@pytest.mark.parametrize(
    ("kind", "variance"),
    [("proportion", 0.3 * 0.7), ("count", 0.21 * 1.5), ("amount", 0.21 * 2.25)],
)
def test_the_variance_follows_the_change_by_kind(kind: OutcomeKind, variance: float) -> None:
    start = 0.2 * 0.8 if kind == "proportion" else 0.21
    assert Outcome(0.2, start, kind).compute_variance(0.5) == pytest.approx(variance)


def test_power_agrees_with_tea_tasting_for_equal_variances() -> None:
    """A change so small that both variances are equal; theirs is by t, here of 400,000 units."""
    rng = np.random.default_rng(3)
    values = rng.normal(10.0, 5.0, 400_000)
    metric = tt.Mean("value", rel_effect_size=0.004, use_t=False, alpha=0.05)
    data = {"value": values}
    (theirs,) = metric.solve_power(pa.table(data), "power")
    outcome = Outcome(float(values.mean()), float(values.var(ddof=1)))
    assert compute_power(outcome, Design(), 0.004, 400_000) == pytest.approx(theirs.power, abs=2e-3)


@given(
    kind=st.sampled_from(KINDS),
    change=st.floats(0.02, 0.2),
    power=st.floats(0.5, 0.95),
    rate=st.floats(0.01, 0.3),
)
@settings(max_examples=30, deadline=None)
def test_the_detectable_change_is_the_reverse_of_the_size(
    kind: AnalysisKind, change: float, power: float, rate: float
) -> None:
    design = Design(analysis=kind, power=power, n_looks=5)
    for outcome in (describe_proportion(rate), Outcome(rate, 3 * rate)):
        size = plan_size(outcome, design, change)
        assert compute_power(outcome, design, change, size.total) == pytest.approx(power, abs=2e-3)
        detectable = find_detectable_change(outcome, design, size.total)
        assert detectable == pytest.approx(change, rel=2e-2)


def test_what_each_analysis_costs() -> None:
    """O'Brien and Fleming's looks cost some percent; to watch at all times costs more than half."""
    fixed, always_valid, grouped = (
        plan_size(REVENUE, Design(analysis=kind), 0.05) for kind in KINDS
    )
    assert 1.01 < grouped.total / fixed.total < 1.07
    assert 1.3 < always_valid.total / fixed.total < 2.5
    assert fixed.expected_share == 1
    assert grouped.expected_share < 0.85
    assert always_valid.expected_share < 0.75
    pocock = Design(analysis="group_sequential", spending="pocock")
    assert plan_size(REVENUE, pocock, 0.05).total > grouped.total


def test_the_past_saves_its_share_and_more_variants_cost_level() -> None:
    plain = plan_size(REVENUE, Design(), 0.05).total
    adjusted = plan_size(replace(REVENUE, explained_share=0.4), Design(), 0.05).total
    assert adjusted == pytest.approx(0.6 * plain, rel=1e-4)
    four = Design(weights=(0.25, 0.25, 0.25, 0.25))
    z = stats.norm.ppf(1 - 0.05 / 6) + stats.norm.ppf(0.8)
    z_of_two = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert plan_size(REVENUE, four, 0.05).total == pytest.approx(
        2 * plain * (z / z_of_two) ** 2, rel=1e-4
    )


def test_uneven_weights_cost_units_and_the_smallest_treatment_decides() -> None:
    even = plan_size(CONVERSION, Design(), 0.1)
    uneven = plan_size(CONVERSION, Design(weights=(0.9, 0.1)), 0.1)
    assert uneven.units[0] == pytest.approx(9 * uneven.units[1], abs=9)
    assert uneven.total > 2.5 * even.total
    smallest = plan_size(CONVERSION, Design(weights=(0.5, 0.4, 0.1)), 0.1)
    larger = plan_size(CONVERSION, Design(weights=(0.5, 0.25, 0.25)), 0.1)
    assert smallest.total > larger.total


def test_a_loss_is_planned_like_a_gain() -> None:
    gain, loss = (plan_size(CONVERSION, Design(), change).total for change in (0.1, -0.1))
    variances = [0.05 * 0.95 + rate * (1 - rate) for rate in (0.055, 0.045)]
    assert loss / gain == pytest.approx(variances[1] / variances[0], rel=1e-4)
    assert compute_power(CONVERSION, Design(), -0.1, loss) == pytest.approx(0.8, abs=1e-3)


def test_no_change_is_called_at_half_the_level_and_a_small_sample_detects_nothing() -> None:
    assert compute_power(CONVERSION, Design(), 0.0, 1000) == pytest.approx(0.025)
    assert find_detectable_change(CONVERSION, Design(), 3) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Outcome(0.0, 1.0),
        lambda: Outcome(1.0, 1.0, explained_share=1.0),
        lambda: Outcome(1.0, 1.0, "proportion"),
        lambda: Design(weights=(1.0,)),
        lambda: Design(level=0.9, power=0.8),
        lambda: Design(n_looks=0),
        lambda: plan_size(REVENUE, Design(), 0.0),
        lambda: plan_size(REVENUE, Design(), 0.05).count_days(0),
    ],
)
def test_impossible_plans_are_refused(make) -> None:
    with pytest.raises(BadInput):
        make()
