"""Purchases before a cut with their times, as matrices of users and items at any decay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy import sparse

from features.contracts.arrays import Float64Array, Int64Array
from features.contracts.calendar import SECONDS_PER_WEEK
from features.online.histories import Tables, fetch_sorted, to_objects
from features.pipelines.user_item import order_lines, select_kept_lines
from models.retrieval.interactions import Interactions, find_positions


@dataclass(frozen=True)
class Purchases:
    """One entry for each order of a user that held an item; rows and columns of `Interactions`.

    users, items   int64 (n,)
    age_weeks      float64 (n,), weeks from the purchase to the cut
    shape          (users, items) of the matrices
    """

    users: Int64Array
    items: Int64Array
    age_weeks: Float64Array
    shape: tuple[int, int]

    def decay(self, per_week: float) -> sparse.csr_matrix:
        """Return float32 (users, items): the sum of per_week ** (age in weeks) over the orders.

        Two orders of one item, of this week and of the week before, at .5 a week:

        >>> ages, zeros = np.array([0.0, 1.0]), np.zeros(2, np.int64)
        >>> Purchases(zeros, zeros, ages, (1, 1)).decay(0.5).toarray().tolist()
        [[1.5]]
        """
        weights = (per_week**self.age_weeks).astype(np.float32)
        matrix = sparse.csr_matrix((weights, (self.users, self.items)), shape=self.shape)
        matrix.sort_indices()
        return matrix


def read_purchases(facts: Tables, cut: datetime, interactions: Interactions) -> Purchases:
    """Return the kept order lines before `cut` of the users and items of `interactions`."""
    lines = select_kept_lines(order_lines(facts.read("events"), cut))
    columns = lines.select("user_id", "item_id", "order_key", "at")
    table = fetch_sorted(columns, ["user_id", "item_id", "order_key"])
    rows = {user_id: row for row, user_id in enumerate(interactions.user_ids)}
    positions = {item_id: position for position, item_id in enumerate(interactions.item_ids)}
    users = find_positions(rows, to_objects(table["user_id"]))
    items = find_positions(positions, to_objects(table["item_id"]))
    seconds = cut.timestamp() - table["at"].to_numpy().astype(np.float64)
    known = (users >= 0) & (items >= 0)
    return Purchases(
        users[known],
        items[known],
        np.maximum(seconds[known], 0.0) / SECONDS_PER_WEEK,
        interactions.matrix.shape,
    )
