"""Rows that the rankers of a visitor's items are fitted and tuned on: labelled candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.contracts.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from features.contracts.seeds import generator
from models.ranking.candidates import CandidateSource
from models.ranking.catalogue import Catalogue
from models.ranking.columns import FeatureNames, column_names, make_columns
from models.ranking.lambdarank import GroupedRows
from models.ranking.model import RankingTask
from training.recommendations.metrics import ndcgs
from training.recommendations.snapshots import TrainingContext, find_relevant_items
from training.splits import Window


@dataclass(frozen=True)
class Rows:
    """Candidates of many users or carts, one after another.

    matrix       float32 (rows, columns), the ranker's input
    relevant     bool (rows,)
    sizes        int64 (users,), rows of each user or cart; they add up to the rows
    n_relevant   int64 (users,), relevant items of each, candidates or not
    """

    matrix: Float32Array
    relevant: BoolArray
    sizes: Int64Array
    n_relevant: Int64Array

    def to_grouped(self, columns: tuple[str, ...]) -> GroupedRows:
        """Return the rows as a ranker is fitted on them; `columns` are the names of the columns."""
        return GroupedRows(self.matrix, self.relevant, self.sizes, columns)

    def ndcg(self, scores: Float64Array, k: int) -> Float64Array:
        """Return NDCG at k of each user (users,) when the rows are ranked by `scores` (rows,).

        A relevant item that is no candidate counts as missed.
        """
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        hits = np.zeros((len(self.sizes), k), bool)
        for user, (start, end) in enumerate(pairwise(starts)):
            best = np.argsort(-scores[start:end], kind="stable")[:k]
            hits[user, : len(best)] = self.relevant[start:end][best]
        return ndcgs(hits, self.n_relevant, k)


class RowsBuilder:
    """Collects the candidates of one user or cart after another into `Rows`."""

    def __init__(self, n_columns: int) -> None:
        self._matrices = [np.zeros((0, n_columns), np.float32)]
        self._labels = [np.zeros(0, bool)]
        self._n_relevant: list[int] = []

    def add(self, matrix: Float32Array, labels: BoolArray, n_relevant: int) -> None:
        """Add the rows of one user or cart."""
        self._matrices.append(matrix)
        self._labels.append(labels)
        self._n_relevant.append(n_relevant)

    def build(self) -> Rows:
        """Return all rows that were added."""
        return Rows(
            np.concatenate(self._matrices),
            np.concatenate(self._labels),
            np.array([len(labels) for labels in self._labels[1:]], np.int64),
            np.array(self._n_relevant, np.int64),
        )


def make_ranking_rows(
    context: TrainingContext,
    window: Window,
    task: RankingTask,
    names: FeatureNames,
    *,
    thinned: bool,
) -> Rows:
    """Return the rows of one window, by what was known at its cut.

    `thinned`, to fit on: only some of the irrelevant candidates, and no users without a relevant
    candidate.
    """
    snapshot, config = context.snapshot(window.cut), context.config
    relevant_by_user = find_relevant_items(context.facts, window, snapshot)[task]
    catalogue = Catalogue(snapshot.items, names.item)
    source = CandidateSource(catalogue, snapshot.retrieval, config.candidates)
    rng = generator(context.settings.seed, f"negatives {task} {window.cut.isoformat()}")
    share_negatives = config.ranker(task).share_negatives if thinned else 1.0
    rows = RowsBuilder(len(column_names(*names)))
    for user_id in sorted(relevant_by_user):
        visitor = source.make_visitor(snapshot.histories[user_id])
        candidates = source.find_candidates(visitor, task)
        relevant = catalogue.positions(np.array(sorted(relevant_by_user[user_id]), object))
        labels = np.isin(candidates, relevant)
        kept = labels | (rng.random(len(candidates)) < share_negatives)
        if thinned and not labels.any():
            continue
        matrix = make_columns(catalogue, visitor, candidates, names.user)
        rows.add(matrix[kept], labels[kept], len(relevant))
    return rows.build()


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several windows as one."""
    return Rows(
        np.concatenate([rows.matrix for rows in parts]),
        np.concatenate([rows.relevant for rows in parts]),
        np.concatenate([rows.sizes for rows in parts]),
        np.concatenate([rows.n_relevant for rows in parts]),
    )
