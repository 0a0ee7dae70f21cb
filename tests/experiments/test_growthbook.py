"""GrowthBook's rules of assignment, by arithmetic; the published cases run in
tests.benchmarks.experiments.growthbook."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.growthbook import (
    StickyRule,
    StickyVariant,
    choose_variation,
    compute_bucket_ranges,
    find_sticky_variant,
    hash_fnv1a32,
    hash_unit,
    is_in_namespace,
    make_equal_weights,
)

WEIGHTS = st.lists(st.floats(0.01, 1), min_size=1, max_size=6).map(
    lambda values: [value / sum(values) for value in values]
)


def test_version_1_hashes_the_unit_before_the_seed_into_thousandths() -> None:
    assert hash_unit("b", "a", 1) == hash_fnv1a32("ab") % 1_000 / 1_000
    assert hash_unit("b", "a", 99) is None


@given(weights=WEIGHTS, share=st.floats(0, 0.9999), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_coverage_moves_no_unit(
    weights: list[float], share: float, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    before = choose_variation(share, compute_bucket_ranges(len(weights), low, weights))
    after = choose_variation(share, compute_bucket_ranges(len(weights), high, weights))
    assert before in (-1, after)


@pytest.mark.parametrize("weights", [[0.7, 0.6], [0.5], [0.2, 0.2]])
def test_weights_that_do_not_fit_are_equal_ones(weights: list[float]) -> None:
    assert compute_bucket_ranges(2, 1, weights) == [(0, 0.5), (0.5, 1)]
    assert make_equal_weights(0) == []


@given(unit=st.text(min_size=1, max_size=12), cut=st.floats(0, 1))
def test_the_parts_of_a_namespace_share_no_unit_and_miss_none(unit: str, cut: float) -> None:
    parts = [is_in_namespace(unit, "layer", 0, cut), is_in_namespace(unit, "layer", cut, 1)]
    assert sum(parts) == 1


def test_a_unit_keeps_what_it_met_before_what_its_fallback_met() -> None:
    rule, variants = StickyRule("trial"), ["a", "b"]
    assert find_sticky_variant(rule, {}, {}, variants) == StickyVariant(None)
    assert find_sticky_variant(rule, {"trial__0": "a"}, {"trial__0": "b"}, variants) == ("a", False)
    assert find_sticky_variant(rule, {"trial__0": "gone"}, {}, variants) == (None, False)
    assert find_sticky_variant(StickyRule("trial", 1), {"trial__0": "a"}, {}, variants)[0] is None
    old = StickyRule("trial", version=3, min_version=3)
    assert find_sticky_variant(old, {"trial__2": "a"}, {}, variants) == (None, True)
    assert find_sticky_variant(old, {"trial__3": "a"}, {}, variants) == ("a", False)
