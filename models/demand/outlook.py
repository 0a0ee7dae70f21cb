"""What is foretold of many items, as arrays: light, so that a server can hold it without model
libraries."""

from __future__ import annotations

from dataclasses import dataclass

from features.contracts.arrays import BoolArray, Float64Array
from models.demand.uncertainty.aggregates import Sums


@dataclass(frozen=True)
class Outlook:
    """Forecasts of N items: mean N × weeks, this week first; alpha N (a week's variance = mean +
    alpha mean²).

    dense N   items that sold in a quarter of the weeks or more: their sums over weeks have
              distributions of their own
    """

    mean: Float64Array
    alpha: Float64Array
    dense: BoolArray
    sums: Sums
