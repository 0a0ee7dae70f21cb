"""Units of weeks in which an item was not in stock all the time."""

from __future__ import annotations

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array

IN_STOCK = 0.95  # share of a week's usual sales from which units are the demand
_ENOUGH = 0.5  # share from which they tell the demand of an item that mostly runs out


def complete_short_weeks(
    units: Float64Array, share: Float64Array, is_short: BoolArray
) -> tuple[Float64Array, BoolArray]:
    """Return units (S, W), and the weeks that say too little of the demand.

    share      of the week's usual sales in which the item was in stock
    is_short   weeks in which it ran out

    An item that runs out in most weeks, as bread does in the afternoon, would have no week to learn
    from. Its weeks of half of the usual sales or more count with what would have sold: units over
    the share. Other items keep theirs, which are left out.

    >>> units, share = np.array([[90.0, 40, 100]]), np.array([[0.9, 0.4, 1]])
    >>> complete_short_weeks(units, share, share < IN_STOCK)
    (array([[100.,  40., 100.]]), array([[False,  True, False]]))
    """
    mostly_short = is_short.mean(axis=1, keepdims=True) > 0.5
    completed = mostly_short & is_short & (share >= _ENOUGH)
    return np.where(completed, units / np.maximum(share, _ENOUGH), units), is_short & ~completed
