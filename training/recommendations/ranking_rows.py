"""Rows that the rankers of a visitor's items are fitted and tuned on: labelled candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

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


class _LabelledCandidates(NamedTuple):
    """The candidates of one user.

    matrix       float32 (candidates, columns)
    labels       bool (candidates,), whether each is relevant
    n_relevant   relevant items of the user, candidates or not
    """

    matrix: Float32Array
    labels: BoolArray
    n_relevant: int


def make_test_rows(
    context: TrainingContext, window: Window, task: RankingTask, names: FeatureNames
) -> Rows:
    """Return the rows of all candidates of one window, by what was known at its cut."""
    rows = RowsBuilder(len(column_names(*names)))
    for candidates in _label_candidates(context, window, task, names):
        rows.add(*candidates)
    return rows.build()


def make_thinned_rows(
    context: TrainingContext,
    window: Window,
    task: RankingTask,
    names: FeatureNames,
    seeds: Sequence[int],
) -> list[Rows]:
    """Return rows of one window to fit on, once for each of `seeds`.

    Only some of the irrelevant candidates, drawn by the seed, and no users without a relevant
    candidate. The columns, which take most of the time, are made once.
    """
    cut = window.cut.isoformat()
    rngs = [generator(seed, f"negatives {task} {cut}") for seed in seeds]
    share_negatives = context.config.ranker(task).share_negatives
    builders = [RowsBuilder(len(column_names(*names))) for _ in seeds]
    for matrix, labels, n_relevant in _label_candidates(context, window, task, names):
        for rng, rows in zip(rngs, builders, strict=True):
            kept = labels | (rng.random(len(labels)) < share_negatives)
            if labels.any():
                rows.add(matrix[kept], labels[kept], n_relevant)
    return [rows.build() for rows in builders]


def _label_candidates(
    context: TrainingContext, window: Window, task: RankingTask, names: FeatureNames
) -> Iterator[_LabelledCandidates]:
    """Yield the candidates of each user of the window with a relevant item."""
    snapshot = context.snapshot(window.cut)
    relevant_by_user = find_relevant_items(context.facts, window, snapshot)[task]
    catalogue = Catalogue(snapshot.items, names.item)
    source = CandidateSource(catalogue, snapshot.retrieval, context.config.candidates)
    for user_id in sorted(relevant_by_user):
        visitor = source.make_visitor(snapshot.histories[user_id])
        candidates = source.find_candidates(visitor, task)
        relevant = catalogue.positions(np.array(sorted(relevant_by_user[user_id]), object))
        matrix = make_columns(catalogue, visitor, candidates, names.user)
        yield _LabelledCandidates(matrix, np.isin(candidates, relevant), len(relevant))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several windows as one."""
    return Rows(
        np.concatenate([rows.matrix for rows in parts]),
        np.concatenate([rows.relevant for rows in parts]),
        np.concatenate([rows.sizes for rows in parts]),
        np.concatenate([rows.n_relevant for rows in parts]),
    )
