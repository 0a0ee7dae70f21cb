"""The history of one visitor at one instant: the input of recommendations.

Offline it is computed from events as of a time; online it is the materialized row merged with later
events. Both give the same `UserHistory`, as a parity test checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array, ObjectArray
from features.contracts.visits import NO_VISIT, Visit

# The faster decay that shows what is rising: a half-life of one week.
FAST_DECAY_PER_WEEK = 0.5


@dataclass(frozen=True)
class UserHistory:
    """The purchases of one visitor by item as of `as_of`; aligned arrays, one entry per item.

    item_ids            str objects, sorted ascending
    n_orders            float32, distinct orders (an order is order_id, else the purchase's event)
                        that held the item
    quantity            float32, units bought
    decayed_frequency   float32, sum over those orders of DECAY_PER_WEEK ** (age in weeks at
                        `as_of`)
    first_at, last_at   int64, epoch seconds of the first and the last purchase
    features            user-level features (features/pipelines/user.py), by name
    viewed_item_ids     items viewed, selected, wished or carted lately, latest first, each once,
                        at most 50
    viewed_at           int64, epoch seconds, aligned with viewed_item_ids
    visit               the latest visit, which may still go on
    search_text         what was searched for last, lately
    """

    user_id: str | None
    as_of: datetime
    item_ids: ObjectArray
    n_orders: Float32Array
    quantity: Float32Array
    decayed_frequency: Float32Array
    first_at: Int64Array
    last_at: Int64Array
    features: dict[str, float] = field(default_factory=dict)
    viewed_item_ids: tuple[str, ...] = ()
    viewed_at: tuple[int, ...] = ()
    visit: Visit = NO_VISIT
    search_text: str | None = None

    @classmethod
    def unknown(cls, as_of: datetime) -> UserHistory:
        """Return the history of a visitor of whom nothing is known."""
        empty = np.zeros(0, np.float32)
        return cls(
            user_id=None,
            as_of=as_of,
            item_ids=np.zeros(0, object),
            n_orders=empty,
            quantity=empty,
            decayed_frequency=empty,
            first_at=np.zeros(0, np.int64),
            last_at=np.zeros(0, np.int64),
        )
