"""Adjusted p-values: known answers, scipy's, and their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.multiple_tests import adjust_benjamini_hochberg, adjust_holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_by_hand() -> None:
    # Sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1, then never below the one before.
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.7, 0.8]) == (1.0, 1.0)
    assert adjust_holm([]) == adjust_benjamini_hochberg([]) == ()


@given(P_VALUES)
def test_benjamini_and_hochberg_agree_with_scipy(p_values: list[float]) -> None:
    adjusted = adjust_benjamini_hochberg(p_values)
    assert adjusted == pytest.approx(stats.false_discovery_control(p_values).tolist())


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_no_adjustment_and_bonferroni(
    p_values: list[float],
) -> None:
    adjusted = adjust_holm(p_values)
    for p_value, ours in zip(p_values, adjusted, strict=True):
        assert p_value <= ours <= min(1.0, p_value * len(p_values)) + 1e-15
    order = sorted(range(len(p_values)), key=lambda test: p_values[test])
    in_order = [adjusted[test] for test in order]
    assert in_order == sorted(in_order)
    assert all(
        discovery <= family
        for discovery, family in zip(adjust_benjamini_hochberg(p_values), adjusted, strict=True)
    )


@given(P_VALUES, st.randoms())
def test_the_order_of_tests_does_not_matter(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for adjust in (adjust_holm, adjust_benjamini_hochberg):
        adjusted = adjust(p_values)
        assert adjust([p_values[test] for test in order]) == tuple(adjusted[test] for test in order)
