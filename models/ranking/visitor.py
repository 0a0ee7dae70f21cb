"""One visitor in the positions of a catalogue: purchases, views, and scores of the sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.histories import UserHistory
from models.compiled.top_items import top_positions
from models.retrieval.als import Als


@dataclass(frozen=True)
class SourceScores:
    """The scores of one source for its own items.

    values   float32 (n_source,)
    rows     int64 (n_items,), the row of each position in `values`, -1 where it has none
    """

    values: Float32Array
    rows: Int64Array

    def at(self, positions: Int64Array) -> Float32Array:
        """Return the scores of the items at `positions`, 0 where the source has none."""
        rows = self.rows[positions]
        known = rows >= 0
        values = np.zeros(len(positions), self.values.dtype)
        values[known] = self.values[rows[known]]
        return values

    def best_rows(self, k: int, without: Int64Array) -> Int64Array:
        """Return the rows of the k highest scores above 0, without the positions `without`."""
        if k == 0:
            return np.zeros(0, np.int64)
        rows, values = self.rows[without], self.values.copy()
        values[rows[rows >= 0]] = 0
        return top_positions(values, k)


@dataclass(frozen=True)
class FactorScores:
    """The scores of a source of factors, computed only where they are needed.

    user      float32 (factors,)
    factors   float32 (n_source + 1, factors), 0 at the end
    als       with a search over them, which may have to be built
    rows      as in SourceScores
    """

    user: Float32Array
    factors: Float32Array
    als: Als
    rows: Int64Array

    def best_rows(self, k: int, without: Int64Array) -> Int64Array:
        """Return the rows of the k highest scores above 0, without the positions `without`."""
        if k == 0:
            return np.zeros(0, np.int64)
        rows = self.rows[without]
        return self.als.nearest.search(self.user, k, rows[rows >= 0])


@dataclass(frozen=True)
class Visitor:
    """One visitor's history, bound to a catalogue.

    bought         int64 (n,), ascending positions of the items bought before
    history_rows   int64 (n,), the rows of these items in the history's arrays
    viewed         int64, positions of the items viewed, latest first
    ease           scores from purchases, by their number as EASE weighs it, and from views;
                   `ease_viewed` from views alone; `ease_decayed` from purchases by their decayed
                   frequency
    """

    history: UserHistory
    bought: Int64Array
    history_rows: Int64Array
    viewed: Int64Array
    ease: SourceScores
    ease_viewed: SourceScores
    ease_decayed: SourceScores
    als: FactorScores

    @property
    def is_known(self) -> bool:
        """Whether the visitor bought or viewed an item of the catalogue."""
        return bool(len(self.bought) or len(self.viewed))
