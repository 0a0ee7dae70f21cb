"""Sums over the units of a variant, from which every mean and ratio is estimated.

A unit has up to five columns. A mean uses `value` alone, a ratio divides `value` by `base`:

    value         the outcome, for a ratio its numerator
    base          the denominator of a ratio; 1 for a mean
    prior_value   the outcome of the same unit before its exposure; 0 for a unit without a past
    prior_base    the denominator before the exposure; 1 for a mean, 0 for a ratio without a past
    is_new        1 for a unit without a past, else 0

One group-by over the table of units returns the sums of `list_sum_columns`, one row per variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.contracts.arrays import AnyArray, Float64Array

MetricKind = Literal["mean", "ratio"]
Exact = int | Fraction
"""A number that is added without rounding."""

COLUMNS = ("value", "base", "prior_value", "prior_base", "is_new")
_CONSTANTS = {"base": 1, "prior_base": 1, "prior_value": 0, "is_new": 0}
_COLUMNS_BY_KIND: Mapping[MetricKind, tuple[str, ...]] = {
    "mean": ("value",),
    "ratio": ("value", "base"),
}
_PRIOR_COLUMNS_BY_KIND: Mapping[MetricKind, tuple[str, ...]] = {
    "mean": ("prior_value", "is_new"),
    "ratio": ("prior_value", "prior_base", "is_new"),
}


@dataclass(frozen=True)
class SumColumn:
    """One sum over units: of the column `left`, or of its product with `right`."""

    name: str
    left: str
    right: str | None


def list_sum_columns(kind: MetricKind, *, with_prior: bool) -> tuple[SumColumn, ...]:
    """Return the sums that a metric of the kind needs beside the number of units `n`.

    >>> [column.name for column in list_sum_columns("mean", with_prior=False)]
    ['sum_value', 'sum_value_value']
    >>> [len(list_sum_columns("ratio", with_prior=prior)) for prior in (False, True)]
    [5, 20]
    """
    columns = _COLUMNS_BY_KIND[kind] + (_PRIOR_COLUMNS_BY_KIND[kind] if with_prior else ())
    totals = [SumColumn(_name_sum(column), column, None) for column in columns]
    products = [
        SumColumn(_name_sum(left, right), left, right)
        for left, right in combinations_with_replacement(columns, 2)
    ]
    return (*totals, *products)


@dataclass(frozen=True)
class UnitSums:
    """The number of units of a variant, and exact sums by the names of `list_sum_columns`.

    A column without a sum is constant: 1 for `base` and `prior_base`, else 0.
    """

    n: int
    sums: Mapping[str, Exact]

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> UnitSums:
        """Read a row of the group-by: `n` and the sums; other columns are not read.

        >>> UnitSums.from_row({"n": 2, "sum_value": 3, "sum_value_value": Decimal(5)}).sums
        {'sum_value': 3, 'sum_value_value': 5}
        """
        names = [column.name for column in list_sum_columns("ratio", with_prior=True)]
        sums = {name: to_exact(row[name]) for name in names if row.get(name) is not None}
        return cls(int(to_exact(row["n"])), sums)

    @classmethod
    def from_units(cls, columns: Mapping[str, npt.ArrayLike]) -> UnitSums:
        """Add the columns of units; whole numbers are added exactly."""
        arrays = {name: np.asarray(columns[name]) for name in COLUMNS if name in columns}
        totals = {_name_sum(name): _add_exactly(array) for name, array in arrays.items()}
        products = {
            _name_sum(left, right): _add_exactly(arrays[left], arrays[right])
            for left, right in combinations_with_replacement(arrays, 2)
        }
        return cls(len(arrays["value"]), totals | products)

    def __add__(self, other: UnitSums) -> UnitSums:
        """Return the sums over the units of both, which have the same columns or no units."""
        names = [*self.sums, *(name for name in other.sums if name not in self.sums)]
        sums = {name: self.sums.get(name, 0) + other.sums.get(name, 0) for name in names}
        return UnitSums(self.n + other.n, sums)

    def compute_means(self) -> Float64Array:
        """Return the mean of every column; of one unit or more. [columns]"""
        return np.array([float(self._add(column) / self.n) for column in COLUMNS])

    def compute_covariances(self) -> Float64Array:
        """Return sample covariances, divisor n - 1, rounded once; of two units or more.

        [columns, columns]
        """
        matrix = np.zeros((len(COLUMNS), len(COLUMNS)))
        divisor = self.n * (self.n - 1)
        for row, left in enumerate(COLUMNS):
            for column, right in enumerate(COLUMNS[: row + 1]):
                spread = self.n * self._add_products(right, left) - self._add(left) * self._add(
                    right
                )
                matrix[row, column] = matrix[column, row] = float(spread / divisor)
        return matrix

    def _add(self, column: str) -> Exact:
        total = self.sums.get(_name_sum(column))
        return self.n * _CONSTANTS.get(column, 0) if total is None else total

    def _add_products(self, left: str, right: str) -> Exact:
        """Return the sum of products; `left` is not behind `right` in COLUMNS."""
        total = self.sums.get(_name_sum(left, right))
        if total is not None:
            return total
        if _name_sum(left) in self.sums:
            return _CONSTANTS.get(right, 0) * self._add(left)
        return _CONSTANTS.get(left, 0) * self._add(right)


NO_UNITS = UnitSums(0, {})


def add_sums(sums: Iterable[UnitSums]) -> UnitSums:
    """Return the sums over the units of all variants."""
    total = NO_UNITS
    for variant_sums in sums:
        total += variant_sums
    return total


def to_exact(value: object) -> Exact:
    """Return a number of Python, numpy or SQL without rounding; raises TypeError for others.

    >>> to_exact(Decimal("0.1")) + to_exact(Decimal("0.2"))
    Fraction(3, 10)
    """
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    if isinstance(value, (Decimal, Fraction, float, np.floating)):
        exact = Fraction(value if not isinstance(value, np.floating) else float(value))
        return exact.numerator if exact.denominator == 1 else exact
    raise TypeError(f"{value!r} is no number to add")


def _name_sum(left: str, right: str | None = None) -> str:
    return f"sum_{left}" if right is None else f"sum_{left}_{right}"


def _add_exactly(left: AnyArray, right: AnyArray | None = None) -> Exact:
    """Return the sum of a column or of its product with another; of whole numbers without
    rounding, in 64 bits where they are enough."""
    other = np.ones(1, np.int64) if right is None else right
    if left.dtype.kind not in "iub" or other.dtype.kind not in "iub":
        return to_exact((left.astype(np.float64) * other.astype(np.float64)).sum())
    largest = [int(np.abs(column.astype(np.int64)).max(initial=0)) for column in (left, other)]
    if largest[0] * largest[1] * max(1, len(left)) < 2**62:
        return int((left.astype(np.int64) * other.astype(np.int64)).sum())
    return to_exact((left.astype(object) * other.astype(object)).sum())
