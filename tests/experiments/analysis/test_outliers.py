"""Caps of outliers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.outliers import CapRule, cap_values
from features.contracts.errors import BadInput


def test_the_quantile_is_of_positive_values_and_an_observed_one() -> None:
    values = np.array([0] * 900 + list(range(1, 101)))
    cap = CapRule(quantile=0.95).compute_cap(values)
    assert cap == 95
    capped = cap_values(values, cap)
    assert capped.dtype == values.dtype
    assert capped.sum() == sum(range(1, 96)) + 5 * 95


def test_a_fixed_cap_ignores_the_data_and_nothing_bought_means_no_cap() -> None:
    assert CapRule(fixed=50.0).compute_cap(np.array([10_000])) == 50
    cap = CapRule(quantile=0.99).compute_cap(np.zeros(5, dtype=int))
    assert cap is None
    assert cap_values(np.array([0, 7]), cap).tolist() == [0, 7]
    assert cap_values(np.array([0.5, 7.5]), 5.0).tolist() == [0.5, 5.0]


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.5, 1.0))
def test_a_cap_changes_no_more_than_its_share_of_the_values(
    amounts: list[int], quantile: float
) -> None:
    values = np.array(amounts)
    cap = CapRule(quantile=quantile).compute_cap(values)
    capped = cap_values(values, cap)
    assert (capped <= values).all()
    n_positive = int((values > 0).sum())
    assert (capped != values).sum() <= (1 - quantile) * n_positive + 1e-6


@pytest.mark.parametrize(
    "options",
    [{}, {"fixed": 1.0, "quantile": 0.5}, {"quantile": 0.0}, {"quantile": 1.1}, {"fixed": 0.0}],
)
def test_impossible_rules_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        CapRule(**options)
