"""What ranks items by a user's purchases alone: one protocol, one file per member.

A member knows items by their positions in its `item_ids`, and no ids of users: whoever came after
the fit is scored from what they bought. A new member is a file with these names and a line in
models/retrieval/purchase_methods.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import DECAY_PER_WEEK, SECONDS_PER_WEEK
from features.contracts.histories import UserHistory


@dataclass(frozen=True)
class KnownPurchases:
    """The purchases of one user of items that a method knows; aligned arrays, one entry per item.

    rows                int64, positions of the items in the method's `item_ids`
    n_orders            float32, distinct orders of the item
    decayed_frequency   float32, sum over the orders of DECAY_PER_WEEK ** (age in weeks)
    first, last         float64, ages in weeks of the first and of the last order
    """

    rows: Int64Array
    n_orders: Float32Array
    decayed_frequency: Float32Array
    first: Float64Array
    last: Float64Array

    @classmethod
    def select(cls, history: UserHistory, rows: Int64Array) -> Self:
        """Return the purchases of a history; `rows` are those of its items, -1 where unknown."""
        known = np.flatnonzero(rows >= 0)
        now = history.as_of.timestamp()
        return cls(
            rows[known],
            history.n_orders[known],
            history.decayed_frequency[known],
            np.maximum(now - history.first_at[known], 0.0) / SECONDS_PER_WEEK,
            np.maximum(now - history.last_at[known], 0.0) / SECONDS_PER_WEEK,
        )

    def decay(self, per_week: float) -> Float32Array:
        """Return the sum over the orders of per_week ** (age in weeks), for each item.

        Exact for one or two orders. Those between the first and the last are taken at the one age
        that gives their part of `decayed_frequency`.

        Three orders, 4, 2 and 0 weeks ago, at .9 and at .5 a week:

        >>> sums = np.array([0.9**4 + 0.9**2 + 1], np.float32)
        >>> ages = np.array([4.0]), np.array([0.0])
        >>> one = np.zeros(1, np.int64)
        >>> three = KnownPurchases(one, np.array([3], np.float32), sums, *ages)
        >>> three.decay(0.5).round(4).tolist()
        [1.3125]
        """
        n_between = np.maximum(self.n_orders - 2.0, 0.0)
        ends = DECAY_PER_WEEK**self.first + DECAY_PER_WEEK**self.last
        rest = np.maximum(self.decayed_frequency - ends, 0.0)
        mean = np.divide(rest, n_between, out=np.ones_like(rest), where=n_between > 0)
        lowest, highest = DECAY_PER_WEEK**self.first, DECAY_PER_WEEK**self.last
        age = np.log(np.clip(mean, lowest, highest)) / np.log(DECAY_PER_WEEK)
        first = np.where(self.n_orders > 1, per_week**self.first, 0.0)
        between = n_between * per_week**age
        return np.asarray(per_week**self.last + first + between, np.float32)


def raise_above_zero(scores: Float32Array) -> Float32Array:
    """Return scores that may be negative in the same order, all above 0."""
    return np.asarray(scores - scores.min(initial=np.inf) + 1e-6, np.float32)


class PurchaseMethod(Protocol):
    """A fitted method."""

    @property
    def item_ids(self) -> ObjectArray:
        """The items that it knows, str objects, sorted."""

    def score_purchases(self, purchases: KnownPurchases) -> Float32Array:
        """Return the scores (n_items,) of all items; 0 or less where it has nothing to say."""

    def save(self, folder: Path) -> None:
        """Write `model.json` with its kind, and native files, never pickle."""
