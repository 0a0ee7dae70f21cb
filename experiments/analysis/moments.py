"""Mean and variance of the values of a variant's units: the input of every test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Moments:
    """Mean (None for n = 0) and sample variance, divisor n - 1 (None for n < 2), of n values."""

    n: int
    mean: float | None
    variance: float | None

    @classmethod
    def from_sums(cls, n: int, total: int, squares: int) -> Moments:
        """Compute from the sum and the sum of squares of n whole numbers.

        Nothing is rounded before the last division.

        >>> Moments.from_sums(3, 1 + 2 + 6, 1 + 4 + 36)
        Moments(n=3, mean=3.0, variance=7.0)
        """
        if n == 0:
            return NO_VALUES
        return cls(n, total / n, (n * squares - total**2) / (n * (n - 1)) if n > 1 else None)


NO_VALUES = Moments(0, None, None)
