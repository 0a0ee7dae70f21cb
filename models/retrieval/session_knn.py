"""Session kNN: what visits like the present one looked at.

Vector multiplication session-kNN (Ludewig and Jannach, "Evaluation of session-based recommendation
algorithms", UMUAI 2018) on an index that keeps the latest visits of each item (Kersbergen et al.,
"Serenade", SIGMOD 2022), so that an answer costs the same however many visits there were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.visits import Visits
from models.artifact import read_arrays, read_meta, write_arrays, write_meta

KIND = "session_knn"

_RANK_STEP = 0.1  # weight that a neighbour loses for each item that is later than the shared one
_LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class SessionKnnConfig:
    """How neighbours are chosen.

    n_neighbors       visits whose items count
    visits_per_item   latest visits of an item that can be neighbours
    max_viewed        items of the present visit that look for neighbours, the latest
    idf_weight        by how much rare items count more
    """

    n_neighbors: int = 500
    visits_per_item: int = 1000
    max_viewed: int = 20
    idf_weight: float = 1.0


class SessionKnn:
    """An index of past visits with two distinct items or more, numbered in the order of time.

    item_starts, visits_of_item   the latest visits of item k are `visits_of_item[item_starts[k]:
                                  item_starts[k + 1]]`, int64
    visit_starts, items_of_visit  the distinct items of each visit, alike
    weights                       float32 (n_items,), 1 plus the weighted idf of each item
    """

    def __init__(
        self,
        item_starts: Int64Array,
        visits_of_item: Int64Array,
        visit_starts: Int64Array,
        items_of_visit: Int64Array,
        weights: Float32Array,
        config: SessionKnnConfig,
    ) -> None:
        self._item_starts, self._visits_of_item = item_starts, visits_of_item
        self._visit_starts, self._items_of_visit = visit_starts, items_of_visit
        self._weights, self._config = weights, config

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return the summed similarity (n_items,) of the neighbours that have each item."""
        viewed = viewed[: self._config.max_viewed]
        visits, lengths = _gather(self._item_starts, self._visits_of_item, viewed)
        rank = np.repeat(np.arange(len(viewed)), lengths)
        # The earliest occurrence is that of the latest item that a neighbour shares.
        neighbors, first, inverse = np.unique(visits, return_index=True, return_inverse=True)
        similarity = np.bincount(inverse, 1.0 - rank / len(viewed), len(neighbors))
        best = np.lexsort((-neighbors, -similarity))[: self._config.n_neighbors]
        weight = np.maximum(1.0 - _RANK_STEP * rank[first[best]], _LEAST_WEIGHT)
        items, lengths = _gather(self._visit_starts, self._items_of_visit, neighbors[best])
        weights = np.repeat(similarity[best] * weight, lengths)
        scores = np.bincount(items, weights, len(self._weights))
        return np.asarray(scores * self._weights, np.float32)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `index.npz`."""
        write_meta(folder, KIND, {"config": vars(self._config)})
        write_arrays(
            folder / "index.npz",
            item_starts=self._item_starts,
            visits_of_item=self._visits_of_item,
            visit_starts=self._visit_starts,
            items_of_visit=self._items_of_visit,
            weights=self._weights,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        config = SessionKnnConfig(**read_meta(folder, KIND)["config"])
        return cls(**read_arrays(folder / "index.npz"), config=config)


def fit_session_knn(visits: Visits, config: SessionKnnConfig) -> SessionKnn:
    """Fit on past visits; the order of their last actions is that of time."""
    n_items = len(visits.item_ids)
    pairs = list_distinct_items(visits)
    n_distinct = np.bincount(pairs[:, 0], minlength=len(visits))
    pairs = pairs[n_distinct[pairs[:, 0]] > 1]
    kept, visit = np.unique(pairs[:, 0], return_inverse=True)
    items = pairs[:, 1]
    n_visits = np.bincount(items, minlength=n_items)
    idf = np.log(max(len(kept), 1) / np.maximum(n_visits, 1))
    by_item = np.lexsort((-visit, items))  # of each item the latest visit first
    starts = np.cumsum(n_visits) - n_visits
    is_late = np.arange(len(items)) - starts[items[by_item]] < config.visits_per_item
    chosen = by_item[is_late]
    return SessionKnn(
        item_starts=_to_starts(np.minimum(n_visits, config.visits_per_item)),
        visits_of_item=visit[chosen],
        visit_starts=_to_starts(np.bincount(visit, minlength=len(kept))),
        items_of_visit=items,
        weights=(1.0 + config.idf_weight * idf).astype(np.float32),
        config=config,
    )


def list_distinct_items(visits: Visits) -> Int64Array:
    """Return each visit's number with each of its items, once; int64 (n, 2), ascending."""
    numbers = np.repeat(np.arange(len(visits)), visits.lengths)
    return np.unique(np.stack([numbers, visits.items], axis=1), axis=0)


def _to_starts(lengths: Int64Array) -> Int64Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _gather(
    starts: Int64Array, values: Int64Array, rows: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return the values of `rows`, one row after another, and the length of each row."""
    begin = starts[rows]
    lengths = starts[rows + 1] - begin
    offsets = np.repeat(begin - (np.cumsum(lengths) - lengths), lengths)
    return values[offsets + np.arange(len(offsets))], lengths
