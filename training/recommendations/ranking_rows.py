"""What the rankers of a visitor's items learn from, and are tuned on: candidates of one window with
their labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.seeds import generator
from models.ranking.candidates import CandidateSource
from models.ranking.columns import Catalogue, column_names, columns
from models.ranking.model import RankingTask
from training.recommendations.metrics import ndcgs
from training.recommendations.snapshots import Workshop, relevant_items
from training.splits import Window

Names = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Rows:
    """Candidates of many users or carts, one after another.

    matrix       float32 (rows, columns), the ranker's input
    relevant     bool (rows,)
    sizes        int64 (users,), rows of each user or cart; they sum to the rows
    n_relevant   int64 (users,), all that was wanted, candidates or not
    """

    matrix: Float32Array
    relevant: BoolArray
    sizes: Int64Array
    n_relevant: Int64Array

    def ndcg(self, scores: Float64Array, k: int) -> Float64Array:
        """NDCG at k of each user (users,) when the rows are ranked by `scores`; what is no
        candidate is missed."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        hits = np.zeros((len(self.sizes), k), bool)
        for user, (start, end) in enumerate(pairwise(starts)):
            best = np.argsort(-scores[start:end], kind="stable")[:k]
            hits[user, : len(best)] = self.relevant[start:end][best]
        return ndcgs(hits, self.n_relevant, k)


def ranking_rows(
    workshop: Workshop, window: Window, task: RankingTask, names: Names, *, thinned: bool
) -> Rows:
    """The rows of one window, by what was known at its cut; `names` of the item and the user
    columns.

    `thinned`, to learn from: users without a relevant candidate are left out, and irrelevant
    candidates thinned.
    """
    snapshot, config = workshop.snapshot(window.cut), workshop.config
    wanted_by = relevant_items(workshop.facts, window, snapshot)[task]
    catalogue = Catalogue(snapshot.items, names[0])
    source = CandidateSource(catalogue, snapshot.retrieval, config.candidates)
    rng = generator(workshop.settings.seed, f"negatives {task} {window.cut.isoformat()}")
    matrices, labels = [np.zeros((0, len(column_names(*names))), np.float32)], [np.zeros(0, bool)]
    sizes, n_relevant = [], []
    for user_id in sorted(wanted_by):
        visitor = source.visitor(snapshot.histories[user_id])
        places = source.candidates(visitor, task)
        wanted = catalogue.positions(np.array(sorted(wanted_by[user_id]), object))
        label = np.isin(places, wanted)
        kept = label | (
            rng.random(len(places)) < (config.ranker(task).share_negatives if thinned else 1.0)
        )
        if thinned and not label.any():
            continue
        matrices.append(columns(catalogue, visitor, places, names[1])[kept])
        labels.append(label[kept])
        sizes.append(int(kept.sum()))
        n_relevant.append(len(wanted))
    counts = np.array(sizes, np.int64), np.array(n_relevant, np.int64)
    return Rows(np.concatenate(matrices), np.concatenate(labels), *counts)


def joined(rows: list[Rows]) -> Rows:
    """Those of several windows."""
    parts = zip(
        *((each.matrix, each.relevant, each.sizes, each.n_relevant) for each in rows), strict=True
    )
    return Rows(*map(np.concatenate, parts))
