"""Caps of outliers: values above a cap count as the cap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import AnyArray
from features.contracts.errors import BadInput


@dataclass(frozen=True)
class CapRule:
    """A fixed cap, or a quantile of the positive values of all variants together.

    The quantile is pooled: a cap of each variant's own would remove a part of the effect.

    >>> CapRule(fixed=100).compute_cap(np.array([50, 1000]))
    100.0
    """

    fixed: float | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        where = "outlier cap"
        if (self.fixed is None) == (self.quantile is None):
            raise BadInput("state a fixed cap or a quantile, one of them", where=where)
        if self.quantile is not None and not 0 < self.quantile <= 1:
            raise BadInput(f"quantile is {self.quantile:g}, not in (0, 1]", where=where)
        if self.fixed is not None and self.fixed <= 0:
            raise BadInput(f"a cap is above 0, not {self.fixed:g}", where=where)

    def compute_cap(self, pooled: AnyArray) -> float | None:
        """Return the cap: the fixed one, or an observed value; None without positive values.

        pooled   values of the units of all variants; zeros (units that bought nothing) are not
                 counted, so that a rare purchase does not move the cap to 0
        """
        if self.fixed is not None:
            return float(self.fixed)
        positive = pooled[pooled > 0]
        if len(positive) == 0 or self.quantile is None:
            return None
        return float(np.quantile(positive, self.quantile, method="inverted_cdf"))


def cap_values(values: AnyArray, cap: float | None) -> AnyArray:
    """Return the values, those above the cap as the cap; whole numbers stay whole."""
    if cap is None:
        return values
    if values.dtype.kind in "iu":
        return np.asarray(np.minimum(values, int(cap)), dtype=values.dtype)
    return np.asarray(np.minimum(values, cap))
