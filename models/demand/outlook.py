"""Forecasts of many items as arrays; a server holds them without loading model libraries."""

from __future__ import annotations

from dataclasses import dataclass

from features.contracts.arrays import BoolArray, Float64Array
from models.demand.uncertainty.aggregates import AggregateDistributions


@dataclass(frozen=True)
class Outlook:
    """Forecasts of N items.

    mean         N × weeks, the current week first
    alpha        N, the dispersion: a week's variance = mean + alpha mean²
    dense        N, items that sold in a quarter of the weeks or more
    aggregates   distributions of sums over several weeks
    """

    mean: Float64Array
    alpha: Float64Array
    dense: BoolArray
    aggregates: AggregateDistributions
