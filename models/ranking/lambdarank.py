"""LightGBM LambdaRank over candidates of several sources.

LightGBM fits and explains; scores come from compiled trees. It takes seconds to import (it brings
pandas and scikit-learn with it), so a server imports it with the first explanation.

Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from features.contracts.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int64Array,
)
from features.contracts.errors import BadInput
from models.compiled.tree_scoring import MAX_LEAVES, add_tree_scores
from models.ranking.trees import parse_feature_names, parse_trees

if TYPE_CHECKING:
    import lightgbm

# Below this many rows threads wait for each other longer than they work.
_ROWS_FOR_TWO_THREADS = 100_000
# After the first trees only the candidates that can still be among the best go on to the others.
_N_FIRST_TREES = 10
_GAP = 1e-3  # between the lowest score of those and the highest of the rest


@dataclass(frozen=True)
class RankerConfig:
    """Trees of one ranker; `share_negatives` of the irrelevant candidates are trained on."""

    n_trees: int = 120
    learning_rate: float = 0.05
    n_leaves: int = 31
    min_rows_in_leaf: int = 100
    share_features: float = 0.5
    share_rows: float = 0.8
    l2: float = 5.0
    truncation: int = 20
    share_negatives: float = 0.12
    n_bins: int = 63

    def __post_init__(self) -> None:
        if not 2 <= self.n_leaves <= MAX_LEAVES:
            raise BadInput(f"n_leaves is in 2..{MAX_LEAVES}", where="the ranker")


class GroupedRows(NamedTuple):
    """Rows to fit a ranker on, grouped by query.

    matrix        float32 (n, columns)
    relevant      bool (n,)
    group_sizes   int64 (queries,), rows of each query; they add up to n
    columns       names of the columns
    gains         float32 (n,), how much each relevant row counts; None: each alike
    """

    matrix: Float32Array
    relevant: BoolArray
    group_sizes: Int64Array
    columns: tuple[str, ...]
    gains: Float32Array | None = None


class Ranker:
    """A fitted ranker from LightGBM's own text format, and the names of its columns."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.columns = parse_feature_names(text)
        self._first = parse_trees(text, end=_N_FIRST_TREES)
        self._others = parse_trees(text, _N_FIRST_TREES)

    @cached_property
    def booster(self) -> lightgbm.Booster:
        """The ranker as LightGBM knows it."""
        import lightgbm

        return lightgbm.Booster(model_str=self._text)

    def score(self, matrix: Float32Array, *, best: int | None = None) -> Float64Array:
        """Return the scores (n,) of `matrix` (n, columns); comparable within one query only.

        With `best` only so many rows, the best after the first trees, are scored by all trees; the
        rest are scored below these, in the order of the first trees (Cambazoglu et al., Early Exit
        Optimizations for Additive Machine Learned Ranking Systems, WSDM 2010).
        """
        scores = np.zeros(len(matrix))
        add_tree_scores(self._first, matrix, scores)
        if best is None or len(matrix) <= best or not self._others.n_trees:
            add_tree_scores(self._others, matrix, scores)
            return scores
        order = np.argsort(-scores, kind="stable")
        first, rest = order[:best], order[best:]
        full_scores = scores[first]
        add_tree_scores(self._others, matrix[first], full_scores)
        scores[rest] += min(0.0, float(full_scores.min()) - float(scores[rest[0]])) - _GAP
        scores[first] = full_scores
        return scores

    def contributions(self, matrix: Float32Array) -> Float64Array:
        """Return the SHAP values (n, columns) of the rows.

        The sum of a row is its score less a constant that is the same for all rows.
        """
        return np.asarray(
            self.booster.predict(matrix, num_threads=1, pred_contrib=True), np.float64
        )[:, :-1]

    def save(self, path: Path) -> None:
        """Write LightGBM's own text format."""
        path.write_text(self._text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        if not path.exists():
            raise BadInput("no ranker here", where=str(path))
        return cls(path.read_text(encoding="utf-8"))


def fit_ranker(rows: GroupedRows, config: RankerConfig, *, seed: int, n_threads: int = 2) -> Ranker:
    """Fit a ranker; few rows on one thread, more on `n_threads`.

    Where relevant rows differ in what they count, these are the gains of the NDCG that the trees
    raise, and a query counts as much as its best row.
    """
    import lightgbm

    n_rows = len(rows.matrix)
    grades = _grade_rows(rows)
    parameters = {
        "objective": "lambdarank",
        "learning_rate": config.learning_rate,
        "num_leaves": config.n_leaves,
        "min_data_in_leaf": min(config.min_rows_in_leaf, max(1, n_rows // 50)),
        "feature_fraction": config.share_features,
        "bagging_fraction": config.share_rows,
        "bagging_freq": 1,
        "lambda_l2": config.l2,
        "lambdarank_truncation_level": config.truncation,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": n_threads if n_rows >= _ROWS_FOR_TWO_THREADS else 1,
        "verbose": -1,
        "max_bin": config.n_bins,
        **({} if grades.gains is None else {"label_gain": grades.gains}),
    }
    data = lightgbm.Dataset(
        rows.matrix,
        grades.labels,
        group=rows.group_sizes,
        weight=grades.weights,
        feature_name=list(rows.columns),
        params={"verbose": -1, "max_bin": config.n_bins},
    )
    booster = lightgbm.train(parameters, data, num_boost_round=config.n_trees)
    return Ranker(booster.model_to_string())


class _Grades(NamedTuple):
    """Labels (n,) as LightGBM takes them; the gain of each label, and the weight (n,) of each row,
    where rows differ."""

    labels: Int8Array
    gains: list[float] | None = None
    weights: Float64Array | None = None


def _grade_rows(rows: GroupedRows) -> _Grades:
    """Return what relevant rows count: the highest gain as 1."""
    distinct = np.zeros(0) if rows.gains is None else np.unique(rows.gains[rows.gains > 0])
    if rows.gains is None or len(distinct) < 2:
        return _Grades(rows.relevant.astype(np.int8))
    levels = np.concatenate([[0.0], distinct])
    starts = np.cumsum(rows.group_sizes) - rows.group_sizes
    best = np.maximum.reduceat(rows.gains, starts)
    return _Grades(
        np.searchsorted(levels, rows.gains).astype(np.int8),
        (levels / levels[-1]).tolist(),
        np.repeat(best / levels[-1], rows.group_sizes).astype(np.float64),
    )
