"""Rows that the rankers of a visitor's items are fitted and tuned on: labelled candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from training.recommendations.learning_targets import PURCHASES
from training.recommendations.metrics import ndcgs
from training.recommendations.snapshots import TrainingContext, find_targets
from training.splits import Window


@dataclass(frozen=True)
class Rows:
    """Candidates of many users or carts, one after another.

    matrix       float32 (rows, columns), the ranker's input
    gains        float32 (rows,), how much each counts; 0 for what is not relevant
    sizes        int64 (users,), rows of each user or cart; they add up to the rows
    n_relevant   int64 (users,), relevant items of each, candidates or not
    """

    matrix: Float32Array
    gains: Float32Array
    sizes: Int64Array
    n_relevant: Int64Array

    @property
    def relevant(self) -> BoolArray:
        """Whether each row is relevant (rows,)."""
        return self.gains > 0

    def to_grouped(self, columns: tuple[str, ...]) -> GroupedRows:
        """Return the rows as a ranker is fitted on them; `columns` are the names of the columns."""
        return GroupedRows(self.matrix, self.relevant, self.sizes, columns, self.gains)

    def select(self, queries: Int64Array) -> Rows:
        """Return the rows of some users or carts, in the order of `queries`."""
        starts = np.cumsum(self.sizes) - self.sizes
        rows = np.concatenate([np.arange(self.sizes[n]) + starts[n] for n in queries.tolist()])
        sizes, n_relevant = self.sizes[queries], self.n_relevant[queries]
        return Rows(self.matrix[rows], self.gains[rows], sizes, n_relevant)

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
        self._gains = [np.zeros(0, np.float32)]
        self._n_relevant: list[int] = []

    def add(self, matrix: Float32Array, gains: Float32Array | BoolArray, n_relevant: int) -> None:
        """Add the rows of one user or cart."""
        self._matrices.append(matrix)
        self._gains.append(gains.astype(np.float32))
        self._n_relevant.append(n_relevant)

    def build(self) -> Rows:
        """Return all rows that were added."""
        return Rows(
            np.concatenate(self._matrices),
            np.concatenate(self._gains),
            np.array([len(gains) for gains in self._gains[1:]], np.int64),
            np.array(self._n_relevant, np.int64),
        )


class _LabelledCandidates(NamedTuple):
    """The candidates of one user.

    matrix       float32 (candidates, columns)
    gains        float32 (candidates,), how much each counts; 0 for what is not relevant
    n_relevant   relevant items of the user, candidates or not
    """

    matrix: Float32Array
    gains: Float32Array
    n_relevant: int


def make_test_rows(
    context: TrainingContext, window: Window, task: RankingTask, names: FeatureNames
) -> Rows:
    """Return the rows of all candidates of one window, by what was known at its cut.

    What is relevant is what was bought, whatever the rankers learn from.
    """
    rows = RowsBuilder(len(column_names(*names)))
    for _, candidates in _label_candidates(context, window, [task], names, PURCHASES):
        rows.add(*candidates)
    return rows.build()


def make_thinned_rows(
    context: TrainingContext,
    window: Window,
    tasks: Sequence[RankingTask],
    names: FeatureNames,
    seeds: Sequence[int],
) -> dict[RankingTask, list[Rows]]:
    """Return rows of one window to fit on by task, once for each of `seeds`.

    Only some of the irrelevant candidates, drawn by the seed, and no users without a relevant
    candidate. The columns, which take most of the time, are made once.
    """
    cut = window.cut.isoformat()
    shares = {task: context.config.ranker(task).share_negatives for task in tasks}
    rngs = {task: [generator(seed, f"negatives {task} {cut}") for seed in seeds] for task in tasks}
    n_columns = len(column_names(*names))
    builders = {task: [RowsBuilder(n_columns) for _ in seeds] for task in tasks}
    weights = context.config.parsed_targets.of_rankers
    for task, candidates in _label_candidates(context, window, tasks, names, weights):
        matrix, gains, n_relevant = candidates
        for rng, rows in zip(rngs[task], builders[task], strict=True):
            kept = (gains > 0) | (rng.random(len(gains)) < shares[task])
            if gains.any():
                rows.add(matrix[kept], gains[kept], n_relevant)
    return {task: [rows.build() for rows in of_task] for task, of_task in builders.items()}


def _label_candidates(
    context: TrainingContext,
    window: Window,
    tasks: Sequence[RankingTask],
    names: FeatureNames,
    weights: Mapping[str, float],
) -> Iterator[tuple[RankingTask, _LabelledCandidates]]:
    """Yield the candidates of each user of the window by task, where an item is relevant to it.

    weights   of the kinds of events that make an item relevant
    """
    snapshot = context.snapshot(window.cut)
    targets = find_targets(context.facts, window, snapshot, weights)
    catalogue = Catalogue(snapshot.items, names.item)
    source = CandidateSource(catalogue, snapshot.retrieval, context.config.candidates)
    gains = np.zeros(catalogue.n_items, np.float32)
    for user_id in sorted(set().union(*(targets[task] for task in tasks))):
        visitor = source.make_visitor(snapshot.histories[user_id])
        for task in tasks:
            gain_by_item = targets[task].get(user_id)
            if gain_by_item is None:
                continue
            candidates = source.find_candidates(visitor, task)
            relevant = catalogue.positions(np.array(list(gain_by_item), object))
            known = relevant >= 0
            gains[relevant[known]] = np.array(list(gain_by_item.values()), np.float32)[known]
            matrix = make_columns(catalogue, visitor, candidates, names.user)
            yield task, _LabelledCandidates(matrix, gains[candidates], len(relevant))
            gains[relevant[known]] = 0


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several windows as one."""
    return Rows(
        np.concatenate([rows.matrix for rows in parts]),
        np.concatenate([rows.gains for rows in parts]),
        np.concatenate([rows.sizes for rows in parts]),
        np.concatenate([rows.n_relevant for rows in parts]),
    )
