"""Random inputs of the compiled kernels, of any size, for their tests and their benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import lightgbm
import numpy as np

from features.contracts.arrays import (
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    UInt16Array,
)
from models.compiled.candidate_columns import ItemTable, Purchases, VisitorScores
from models.compiled.tree_scoring import Trees
from models.ranking.trees import parse_trees

NOW = 1_510_000_000


class SparseSums(NamedTuple):
    """The parameters of `add_rows`."""

    rows: Int64Array
    values: Float32Array
    pointers: Int32Array
    columns: UInt16Array
    data: Float32Array


class FoldIn(NamedTuple):
    """The parameters of `fold_in_user`."""

    factors: Float32Array
    rows: Int64Array
    gram: Float32Array
    inverse: Float32Array
    alpha: np.float32


class Chances(NamedTuple):
    """The parameters of `likeliest_sources`."""

    matrix: Float32Array
    score_columns: Int64Array
    skip_column: int
    knots: Float64Array
    chances: Float64Array


class CandidateInputs(NamedTuple):
    """The parameters of `make_candidate_columns`."""

    candidates: Int64Array
    purchases: Purchases
    scores: VisitorScores
    items: ItemTable
    user_features: Float32Array


@dataclass(frozen=True)
class KernelInputs:
    """Draws inputs from `rng` for a shop of `n_items`, of which the visitor bought `n_bought`."""

    rng: np.random.Generator
    n_items: int
    n_bought: int

    def sparse_sums(self, n_weightings: int, n_weights: int) -> SparseSums:
        """Rows of a matrix of `n_weights` entries a row, some of them -1."""
        n = self.n_items
        columns = [self.distinct_positions(n_weights) for _ in range(n)]
        return SparseSums(
            rows=self.rng.integers(-1, n, self.n_bought),
            values=self.rng.random((n_weightings, self.n_bought), np.float32),
            pointers=np.arange(0, n * n_weights + 1, n_weights, dtype=np.int32),
            columns=np.concatenate(columns).astype(np.uint16),
            data=self.rng.normal(size=n * n_weights).astype(np.float32),
        )

    def fold_in(self, n_factors: int) -> FoldIn:
        """Items' factors, and the rows of those bought."""
        factors = 0.3 * self.rng.normal(size=(self.n_items, n_factors)).astype(np.float32)
        gram = factors.T @ factors + 0.05 * np.eye(n_factors, dtype=np.float32)
        inverse = np.linalg.inv(gram)
        return FoldIn(factors, self.bought(), gram, inverse, np.float32(5))

    def scores(self, n: int, n_digits: int = 2) -> Float32Array:
        """Scores (n,) around 0, rounded so that some are equal."""
        return np.round(self.rng.normal(size=n), n_digits).astype(np.float32)

    def chances(self, n_rows: int, n_sources: int = 6) -> Chances:
        """Scores with gaps, and knots of each source, some of them equal at the end."""
        matrix = self.rng.random((n_rows, n_sources + 3), np.float32)
        matrix[self.rng.random(matrix.shape) < 0.3] = np.nan
        knots = np.sort(self.rng.random((n_sources, 40)), axis=1)
        knots[:, 35:] = knots[:, 35:36]
        chances = np.sort(self.rng.random((n_sources, 40)), axis=1)
        chances[:, 35:] = chances[:, 35:36]
        return Chances(matrix, np.arange(2, n_sources + 2), 1, knots, chances)

    def candidate_columns(self, n_candidates: int, n_factors: int) -> CandidateInputs:
        """A history of more than the catalogue's items, sources that know a part of them."""
        n, history = self.n_items, self.n_bought + 3
        n_orders = self.rng.integers(1, 5, history).astype(np.float32)
        first_at = self.rng.integers(NOW - 40_000_000, NOW - 20_000_000, history)
        n_ease, n_als = n // 2 + 1, n // 3 + 1
        factors = self.rng.normal(size=(n_als + 1, n_factors)).astype(np.float32)
        factors[-1] = 0
        purchases = Purchases(
            positions=self.bought(),
            rows=self.rng.permutation(history)[: self.n_bought],
            n_orders=n_orders,
            quantity=self.rng.random(history, np.float32),
            decayed_frequency=self.decayed_frequency(history),
            first_at=first_at,
            last_at=first_at + (n_orders > 1) * self.rng.integers(0, 10_000_000, history),
            as_of=NOW,
        )
        scores = VisitorScores(
            ease=self.scores(n_ease, 1),
            ease_decayed=self.scores(n_ease),
            ease_rows=self.source_rows(n_ease),
            user=self.rng.normal(size=n_factors).astype(np.float32),
            factors=factors,
            als_rows=self.source_rows(n_als),
        )
        codes = self.rng.integers(0, 9, (3, n))
        features = self.rng.normal(size=(n, 24)).astype(np.float32)
        return CandidateInputs(
            candidates=self.distinct_positions(n_candidates),
            purchases=purchases,
            scores=scores,
            items=ItemTable(codes, codes.max(1) + 1, features),
            user_features=self.rng.normal(size=6).astype(np.float32),
        )

    def bought(self) -> Int64Array:
        """The positions of the visitor's items, ascending."""
        return self.distinct_positions(self.n_bought)

    def distinct_positions(self, n: int) -> Int64Array:
        """So many positions of the catalogue, ascending."""
        return np.sort(self.rng.permutation(self.n_items)[:n])

    def source_rows(self, n_source: int) -> Int64Array:
        """The row of each position in a source that knows `n_source` items, -1 for the others."""
        rows = np.full(self.n_items, -1)
        rows[self.rng.permutation(self.n_items)[:n_source]] = np.arange(n_source)
        return rows

    def decayed_frequency(self, n: int) -> Float32Array:
        """Frequencies, rounded so that some are equal."""
        return np.round(self.rng.random(n, np.float32), 2)

    def table(self, n_rows: int, n_columns: int) -> Float32Array:
        """The ranker's input, with ties, missing values, zeros and infinities."""
        matrix = self.rng.normal(size=(n_rows, n_columns)).astype(np.float32)
        matrix[:, 0] = self.rng.integers(-2, 3, n_rows)
        matrix[self.rng.random(matrix.shape) < 0.3] = np.nan
        matrix[self.rng.random(matrix.shape) < 0.02] = np.inf
        matrix[self.rng.random(matrix.shape) < 0.02] = np.float32(-0.0)
        return matrix

    def trees(self, n_trees: int, n_leaves: int, n_columns: int) -> Trees:
        """Trees that LightGBM fitted on such a table."""
        matrix = self.table(2_000, n_columns)
        label = np.nan_to_num(matrix, posinf=1).sum(1) + self.rng.normal(size=len(matrix))
        parameters = {"num_leaves": n_leaves, "verbose": -1, "num_threads": 1, "seed": 1}
        data = lightgbm.Dataset(matrix, label)
        booster = lightgbm.train(parameters, data, num_boost_round=n_trees)
        return parse_trees(booster.model_to_string())
