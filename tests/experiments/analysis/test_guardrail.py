"""The stop of a harmful variant: the evidence by hand, and the margin."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.guardrail import GuardrailRule, evaluate_guardrail
from experiments.analysis.moments import Moments
from experiments.analysis.sequential import compute_one_sided_multiple
from features.contracts.errors import BadInput

RULE = GuardrailRule("decrease", planned_units=20_000, margin=0.02)


def make_rate(n: int, rate: float) -> Moments:
    return Moments(n, rate, rate * (1 - rate))


def test_a_loss_beyond_the_margin_stops_by_hand() -> None:
    evidence = evaluate_guardrail(make_rate(10_000, 0.07), make_rate(10_000, 0.1), RULE)
    assert evidence is not None
    error = math.sqrt(0.07 * 0.93 / 10_000 + 0.98**2 * 0.1 * 0.9 / 10_000)
    score = (0.98 * 0.1 - 0.07) / error
    assert score > compute_one_sided_multiple(1.0)
    assert evidence.must_stop
    assert evidence.change == pytest.approx(-0.3)
    assert evidence.least_harm is not None
    assert -0.3 < evidence.least_harm < -0.02
    assert evidence.p_value < 0.05


def test_a_loss_within_the_margin_a_gain_and_few_units_do_not_stop() -> None:
    for treatment, control in (
        (make_rate(10_000, 0.099), make_rate(10_000, 0.1)),
        (make_rate(10_000, 0.15), make_rate(10_000, 0.1)),
        (make_rate(50, 0.05), make_rate(50, 0.1)),
    ):
        evidence = evaluate_guardrail(treatment, control, RULE)
        assert evidence is not None
        assert not evidence.must_stop
        assert evidence.p_value > 0.05


def test_an_increase_harms_where_the_metric_is_a_cost() -> None:
    rule = GuardrailRule("increase", planned_units=20_000, margin=0.05)
    slow, usual = Moments(10_000, 130.0, 2500.0), Moments(10_000, 100.0, 2500.0)
    evidence = evaluate_guardrail(slow, usual, rule)
    assert evidence is not None
    assert evidence.must_stop
    assert evidence.least_harm is not None
    assert 0.05 < evidence.least_harm < 0.3
    fast = evaluate_guardrail(usual, slow, rule)
    assert fast is not None
    assert not fast.must_stop


@given(
    ours=st.floats(0.01, 0.5),
    theirs=st.floats(0.01, 0.5),
    n=st.integers(50, 100_000),
    harmful=st.sampled_from(["decrease", "increase"]),
    margin=st.floats(0, 0.5),
)
def test_it_stops_exactly_where_the_least_harm_is_beyond_the_margin(
    ours: float, theirs: float, n: int, harmful, margin: float
) -> None:
    rule = GuardrailRule(harmful, planned_units=20_000, margin=margin)
    evidence = evaluate_guardrail(make_rate(n, ours), make_rate(n, theirs), rule)
    assert evidence is not None
    if evidence.least_harm is None:
        assert not evidence.must_stop or harmful == "increase"
        return
    harm = -evidence.least_harm if harmful == "decrease" else evidence.least_harm
    if abs(harm - margin) > 1e-9:
        assert evidence.must_stop == (harm > margin)
        assert (evidence.p_value < rule.level) == evidence.must_stop


@pytest.mark.parametrize(
    "options", [{"planned_units": 0}, {"margin": 1.0}, {"margin": -0.1}, {"level": 0.0}]
)
def test_impossible_rules_are_refused(options) -> None:
    with pytest.raises(BadInput):
        replace(RULE, **options)


def test_no_evidence_without_a_spread_or_a_control() -> None:
    flat = Moments(5, 1.0, 0.0)
    assert evaluate_guardrail(flat, flat, RULE) is None
    assert evaluate_guardrail(Moments(1, 1.0, None), Moments(9, 1.0, 1.0), RULE) is None
    assert evaluate_guardrail(Moments(9, 1.0, 1.0), Moments(9, 0.0, 1.0), RULE) is None


def test_harm_that_begins_at_nothing_stops_and_nothing_cannot_be_lost() -> None:
    nothing = Moments(10_000, 0.0, 0.0)
    refunds = replace(RULE, harmful="increase")
    evidence = evaluate_guardrail(make_rate(10_000, 0.02), nothing, refunds)
    assert evidence is not None
    assert (evidence.must_stop, evidence.change) == (True, math.inf)
    assert evaluate_guardrail(make_rate(10_000, 0.02), nothing, RULE) is None
