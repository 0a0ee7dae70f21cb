"""Sums of units are exact, and one group-by returns them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import ibis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.sums import (
    COLUMNS,
    MetricKind,
    UnitSums,
    add_sums,
    list_sum_columns,
    to_exact,
)

UNITS = {
    "value": [3, 0, 5, 1],
    "base": [1, 0, 2, 1],
    "prior_value": [2, 0, 4, 0],
    "prior_base": [1, 0, 1, 0],
    "is_new": [0, 1, 0, 1],
}


def test_means_and_covariances_are_those_of_numpy() -> None:
    sums = UnitSums.from_units(UNITS)
    matrix = np.array([UNITS[name] for name in COLUMNS], dtype=float)
    assert sums.compute_means() == pytest.approx(matrix.mean(axis=1))
    assert sums.compute_covariances() == pytest.approx(np.cov(matrix))


def test_columns_without_sums_are_constant() -> None:
    sums = UnitSums.from_units({"value": [1, 2, 6]})
    assert sums.compute_means().tolist() == [3, 1, 0, 1, 0]
    covariances = sums.compute_covariances()
    assert covariances[0, 0] == (4 + 1 + 9) / 2
    assert np.count_nonzero(covariances) == 1


@pytest.mark.parametrize(("kind", "with_prior"), [("mean", True), ("ratio", True), ("mean", False)])
def test_one_group_by_returns_the_sums(kind: MetricKind, with_prior: bool) -> None:
    columns = list_sum_columns(kind, with_prior=with_prior)
    units = ibis.memtable(UNITS)
    exact = units.mutate(**{name: units[name].cast("decimal(18, 0)") for name in COLUMNS})
    sums = {
        column.name: (
            exact[column.left] if column.right is None else exact[column.left] * exact[column.right]
        )
        .sum()
        .cast("decimal(38, 0)")
        for column in columns
    }
    (row,) = exact.aggregate(n=exact.count(), **sums).to_pyarrow().to_pylist()
    names = {column.left for column in columns}
    expected = UnitSums.from_units({name: UNITS[name] for name in names})
    assert UnitSums.from_row(row) == expected
    assert all(isinstance(value, int) for value in expected.sums.values())


def test_large_amounts_lose_no_digit() -> None:
    """At 10^12 minor units a float would lose the variance of 1 and 3; its mean is 2."""
    shift = 10**12
    plain, shifted = (
        UnitSums.from_row(
            {"n": 2, "sum_value": Decimal(a + b), "sum_value_value": Decimal(a * a + b * b)}
        )
        for a, b in ((1, 3), (1 + shift, 3 + shift))
    )
    assert plain.compute_covariances()[0, 0] == 2
    assert shifted.compute_covariances()[0, 0] == 2


@given(st.lists(st.tuples(*[st.integers(-(10**12), 10**12)] * 5), min_size=2, max_size=20))
def test_sums_of_parts_are_the_sums_of_all(rows: list[tuple[int, ...]]) -> None:
    def add(part: list[tuple[int, ...]]) -> UnitSums:
        return UnitSums.from_units(
            {name: [row[column] for row in part] for column, name in enumerate(COLUMNS)}
        )

    assert add_sums([add(rows[:1]), add(rows[1:])]) == add(rows)
    assert add(rows[::-1]) == add(rows)


def test_numbers_become_exact() -> None:
    assert to_exact(np.int64(7)) == to_exact(7.0) == to_exact(Decimal(7)) == 7
    assert to_exact(np.float64(0.5)) == Fraction(1, 2)
    assert to_exact(True) == 1
    with pytest.raises(TypeError, match="no number"):
        to_exact("7")
