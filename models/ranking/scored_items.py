"""Items with scores and reasons: what every way of ranking gives, and what the slate is made
from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.recommendations import Reason
from models.compiled.top_items import best_allowed_rows
from models.ranking.cart import Cart
from models.ranking.model import RankingTask

# Arrays may hold the values instead; a call of Reason costs ten times as much.
_REASON = {each.value: each for each in Reason}


@dataclass(frozen=True)
class Scored:
    """Positions with scores and reasons, in any order, each position once.

    matrix   the ranker's input when a ranker scored; rows beyond its own were added later and
             nobody ranked them
    task     the ranker's
    cart     what rules between items were followed from
    tell     reasons of rows of `matrix`, in place of those in `reasons`: few of many candidates are
             asked for theirs
    """

    places: Int64Array
    scores: Float64Array
    reasons: ObjectArray
    matrix: Float32Array | None = None
    task: RankingTask | None = None
    cart: Cart | None = None
    tell: Callable[[Int64Array], ObjectArray] | None = None

    @classmethod
    def of(cls, places: Int64Array, scores: Float64Array, reason: Reason) -> Self:
        """All for one reason."""
        return cls(places, scores, np.full(len(places), reason, object))

    @classmethod
    def nothing(cls) -> Self:
        """No item."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, object))

    def reasons_of(self, rows: Int64Array) -> list[Reason]:
        """Why the items at `rows` are here."""
        found = self.reasons[rows]
        if self.tell is not None and self.matrix is not None:
            ranked = np.flatnonzero(rows < len(self.matrix))
            found[ranked] = self.tell(rows[ranked])
        return [_REASON[each] for each in found]

    def best_first(self, rows: Int64Array) -> Int64Array:
        """`rows` by score, the highest first; equal scores by position."""
        return rows[np.lexsort((self.places[rows], -self.scores[rows]))]

    def best(self, allowed: BoolArray, count: int) -> Int64Array:
        """The first `count` rows of `best_first`, of items (n_items,) that are `allowed`."""
        return best_allowed_rows(self.places, self.scores, allowed, count)

    def sorted(self) -> Self:
        """The same, the best first; only of what no ranker scored."""
        order = self.best_first(np.arange(len(self.places)))
        return replace(
            self, places=self.places[order], scores=self.scores[order], reasons=self.reasons[order]
        )

    def with_more(self, more: Scored) -> Self:
        """With `more` behind."""
        return replace(
            self,
            places=np.concatenate([self.places, more.places]),
            scores=np.concatenate([self.scores, more.scores]),
            reasons=np.concatenate([self.reasons, more.reasons]),
        )
