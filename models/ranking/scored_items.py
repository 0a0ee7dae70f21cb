"""Items with scores and reasons: what every scorer returns, and what a slate is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.recommendations import QueryMatch, Reason
from models.compiled.top_items import best_allowed_rows
from models.ranking.cart import Cart
from models.ranking.model import RankingTask
from models.ranking.visit_candidates import BoundVisit

# Arrays may hold the values instead; a call of Reason costs ten times as much.
_REASON_OF_VALUE = {reason.value: reason for reason in Reason}


@dataclass(frozen=True)
class ScoredItems:
    """Positions with scores and reasons, in any order, each position once; a row is one of them.

    matrix   the ranker's input, when a ranker scored; rows behind it were added later, unranked
    task     the ranker's
    cart     the cart whose association rules were followed
    visit    the visit whose sources proposed the items
    match    how far each item matches the text that was searched for; None where there is none
    match_weight   what a full match has added to a score
    explain_rows   returns the reasons of rows of `matrix`, which replace those in `reasons`: the
                   reasons of only a few of many candidates are needed
    """

    positions: Int64Array
    scores: Float64Array
    reasons: ObjectArray
    matrix: Float32Array | None = None
    task: RankingTask | None = None
    cart: Cart | None = None
    visit: BoundVisit | None = None
    match: Float64Array | None = None
    match_weight: float = 0.0
    explain_rows: Callable[[Int64Array], ObjectArray] | None = None

    @classmethod
    def with_reason(cls, positions: Int64Array, scores: Float64Array, reason: Reason) -> Self:
        """Return items that all have one reason."""
        return cls(positions, scores, np.full(len(positions), reason, object))

    @classmethod
    def empty(cls) -> Self:
        """Return no items."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, object))

    def reasons_of(self, rows: Int64Array) -> list[Reason]:
        """Return the reason of each of `rows`."""
        reasons = self.reasons[rows]
        if self.explain_rows is not None and self.matrix is not None:
            ranked = np.flatnonzero(rows < len(self.matrix))
            reasons[ranked] = self.explain_rows(rows[ranked])
        return [_REASON_OF_VALUE[reason] for reason in reasons]

    def find_query_match(self, row: int) -> QueryMatch | None:
        """Return how far a row matches the text; None where none is searched for, or another than
        the ranker of purchases scored it: scores of others have another unit."""
        if self.match is None or self.task != "all" or row >= len(self.match):
            return None
        degree = float(self.match[row])
        return QueryMatch(degree, float(self.scores[row]) - self.match_weight * degree)

    def measure_match(self, rows: Int64Array) -> Float64Array:
        """Return what the text that was searched for has added to the score of each of `rows`."""
        added = np.zeros(len(rows))
        if self.match is not None:
            known = rows < len(self.match)
            added[known] = self.match_weight * self.match[rows[known]]
        return added

    def order_rows(self, rows: Int64Array) -> Int64Array:
        """Return `rows` by score, the highest first; equal scores by position."""
        return rows[np.lexsort((self.positions[rows], -self.scores[rows]))]

    def best_rows(self, allowed: BoolArray, count: int) -> Int64Array:
        """Return the first `count` of the ordered rows whose items (n_items,) are `allowed`."""
        return best_allowed_rows(self.positions, self.scores, allowed, count)

    def order(self) -> Self:
        """Return the same items, best first; only for items that no ranker scored."""
        rows = self.order_rows(np.arange(len(self.positions)))
        return replace(
            self,
            positions=self.positions[rows],
            scores=self.scores[rows],
            reasons=self.reasons[rows],
            match=None if self.match is None else self.match[rows],
        )

    def append(self, more: ScoredItems) -> Self:
        """Return these items with `more` behind."""
        return replace(
            self,
            positions=np.concatenate([self.positions, more.positions]),
            scores=np.concatenate([self.scores, more.scores]),
            reasons=np.concatenate([self.reasons, more.reasons]),
        )
