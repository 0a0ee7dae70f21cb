"""Slates of the simpler recommenders: same data, same cut, the full catalogue ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.calendar import DECAY_PER_WEEK
from features.contracts.recommendations import ItemFeatures
from models.compiled.top_items import top_positions
from models.ranking.model import RankingTask
from models.ranking.scorers.buy_again_rule import score_by_buy_again_rule
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.bm25_knn import Bm25KnnConfig, fit_bm25_knn
from models.retrieval.bpr import BprConfig, fit_bpr
from models.retrieval.ease import fit_ease
from models.retrieval.interactions import Interactions, find_positions
from models.retrieval.tifu_knn import TifuKnnConfig
from training.recommendations.baseline_config import (
    BuyAgainRuleConfig,
    EaseBaselineConfig,
    TaskBaselines,
)
from training.recommendations.evaluation_input import EvaluationInput
from training.recommendations.purchases import Purchases
from training.recommendations.tifu_baseline import TifuKnn

POPULARITY = "recent popularity"
BUY_AGAIN = "buy again"
BUY_AGAIN_RULE = "buy again, as served"
TIFU_KNN = "TIFU-kNN"
EASE = "EASE"

_SCORES_AT_ONCE = 2**23  # bounds the memory of one block of users
_NO_ITEMS = np.zeros(0, np.int64)

BaselineSlates = dict[RankingTask, dict[str, dict[str, list[str]]]]
# Takes rows of users, returns their scores of all items, float32 (rows, items); an item without a
# score above 0 is behind the popular ones.
Score = Callable[[Int64Array], Float32Array]
MethodConfig = (
    BuyAgainRuleConfig | TifuKnnConfig | Bm25KnnConfig | AlsConfig | BprConfig | EaseBaselineConfig
)


@dataclass(frozen=True)
class BaselineData:
    """What the baselines are fitted on.

    popularity   float32 (items,), orders of the last four weeks as a share of the most
    """

    interactions: Interactions
    purchases: Purchases
    popularity: Float32Array
    seed: int


def make_baseline_slates(
    data: EvaluationInput, tasks: Sequence[RankingTask], length: int
) -> BaselineSlates:
    """Return the slates of every known user by task, baseline and user.

    In the task "new" no baseline shows an item that the user has bought. Popular items follow where
    a baseline has no more scores. Their settings are tuned like those of the rankers
    (training/recommendations/baseline_tuning.py).

    recent popularity      orders of the last four weeks
    buy again              decayed frequency
    buy again, as served   the same with the decay of the served rule
    TIFU-kNN               decayed frequency, mixed with that of the nearest users
    ItemKNN                BM25 weights, each item its own neighbour too
    ALS, BPR               of implicit
    EASE                   closed form on the most bought items
    """
    interactions = data.interactions
    fitted = FittedBaselines(
        BaselineData(
            interactions, data.purchases, measure_popularity(data.items, interactions), data.seed
        )
    )
    users = sorted(data.histories)
    rows = find_positions(
        {user: row for row, user in enumerate(interactions.user_ids)}, np.array(users, object)
    )
    methods = {task: list_methods(data.baselines.of(task)) for task in tasks}
    slates: BaselineSlates = {task: {} for task in tasks}
    for name in list_methods(data.baselines.all):
        for config in dict.fromkeys(methods[task][name] for task in tasks):
            alike = [task for task in tasks if methods[task][name] == config]
            ranked = fitted.rank(config, rows, alike, length)
            best_by_user = dict(zip(users, ranked, strict=True))
            for task in alike:
                slates[task][name] = {
                    user: interactions.item_ids[best[task]].tolist()
                    for user, best in best_by_user.items()
                }
    return slates


def list_methods(config: TaskBaselines) -> dict[str, MethodConfig | None]:
    """Return the settings of each baseline of one task by its name; None for popularity."""
    return {
        "ItemKNN": config.item_knn,
        "ALS": config.als,
        "BPR": config.bpr,
        EASE: config.ease,
        POPULARITY: None,
        BUY_AGAIN: config.buy_again,
        BUY_AGAIN_RULE: BuyAgainRuleConfig(DECAY_PER_WEEK),
        TIFU_KNN: config.tifu_knn,
    }


def measure_popularity(items: ItemFeatures, interactions: Interactions) -> Float32Array:
    """Return the orders of the last four weeks of each known item, as a share of the most."""
    catalogue = {item_id: position for position, item_id in enumerate(items.item_ids)}
    known = find_positions(catalogue, interactions.item_ids)
    popularity = np.nan_to_num(items.columns["orders_4w"][known]).astype(np.float32)
    popularity /= max(float(popularity.max()), 1e-9)
    return popularity


class FittedBaselines:
    """Baselines that are fitted when first ranked; equal settings of two tasks are fitted once."""

    def __init__(self, data: BaselineData) -> None:
        self._data = data
        self._by_popularity = np.argsort(-data.popularity, kind="stable")
        self._fitted: dict[MethodConfig, Score] = {}

    def rank(
        self,
        config: MethodConfig | None,
        rows: Int64Array,
        tasks: Sequence[RankingTask],
        length: int,
    ) -> Iterator[dict[RankingTask, Int64Array]]:
        """Yield the positions of the best items of each user by task, best first.

        rows   of the users in the matrix; -1 for one who bought nothing
        """
        scores = iter(()) if config is None else self._score(config, rows[rows >= 0])
        for row in rows.tolist():
            values = next(scores, None) if row >= 0 else None
            own = self._find_own(row)
            yield {task: self._find_best(values, own, task, length) for task in tasks}

    def _find_best(
        self, values: Float32Array | None, own: Int64Array, task: RankingTask, length: int
    ) -> Int64Array:
        """Return the positions of the highest scores above 0, and of popular items behind."""
        left_out = own if task == "new" else _NO_ITEMS
        best = _NO_ITEMS
        if values is not None:
            own_values = values[left_out]
            values[left_out] = 0
            best = top_positions(values, length)
            values[left_out] = own_values
        if len(best) == length:
            return best
        behind = self._find_popular(np.union1d(best, left_out), length - len(best))
        return np.concatenate([best, behind])

    def _score(self, config: MethodConfig, rows: Int64Array) -> Iterator[Float32Array]:
        """Yield the scores (items,) of each row, which may be changed."""
        if config not in self._fitted:
            self._fitted[config] = fit_method(self._data, config)
        n_at_once = max(1, _SCORES_AT_ONCE // max(len(self._data.popularity), 1))
        for start in range(0, len(rows), n_at_once):
            yield from self._fitted[config](rows[start : start + n_at_once])

    def _find_own(self, row: int) -> Int64Array:
        if row < 0:
            return _NO_ITEMS
        matrix = self._data.interactions.matrix
        own = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        return np.asarray(own, np.int64)

    def _find_popular(self, left_out: Int64Array, count: int) -> Int64Array:
        first = self._by_popularity[: count + len(left_out)]
        return first[~np.isin(first, left_out)][:count]


def fit_method(data: BaselineData, config: MethodConfig) -> Score:
    """Fit one baseline."""
    if isinstance(config, BuyAgainRuleConfig):
        return _fit_buy_again(data, config)
    if isinstance(config, TifuKnnConfig):
        return TifuKnn(data.purchases.decay(config.decay_per_week), config).score
    if isinstance(config, Bm25KnnConfig):
        return _fit_item_knn(data.interactions, config)
    if isinstance(config, EaseBaselineConfig):
        return _fit_ease(data.interactions, config)
    return _fit_factors(data, config)


def _fit_buy_again(data: BaselineData, config: BuyAgainRuleConfig) -> Score:
    decayed = data.purchases.decay(config.decay_per_week)
    return lambda rows: score_by_buy_again_rule(decayed[rows].toarray(), data.popularity)


def _fit_item_knn(interactions: Interactions, config: Bm25KnnConfig) -> Score:
    similarity = fit_bm25_knn(interactions, config).similarity
    weights = interactions.weigh(config.weighting)
    return lambda rows: np.asarray((weights[rows] @ similarity).toarray(), np.float32)


def _fit_ease(interactions: Interactions, config: EaseBaselineConfig) -> Score:
    weighted = interactions.weigh(config.weighting)
    model = fit_ease(interactions, config)
    index = {item_id: position for position, item_id in enumerate(interactions.item_ids)}
    positions = find_positions(index, model.item_ids)
    n_items = len(interactions.item_ids)

    def score(rows: Int64Array) -> Float32Array:
        scores = np.zeros((len(rows), n_items), np.float32)
        scores[:, positions] = (weighted[rows][:, positions] @ model.weights).toarray()
        return scores

    return score


def _fit_factors(data: BaselineData, config: AlsConfig | BprConfig) -> Score:
    """Fit ALS or BPR; every score is raised above 0, which changes no order."""
    interactions = data.interactions
    index = {item_id: position for position, item_id in enumerate(interactions.item_ids)}
    if isinstance(config, AlsConfig):
        als = fit_als(interactions, config, seed=data.seed)
        positions, factors = find_positions(index, als.item_ids), als.factors
        matrix = interactions.matrix[:, positions].tocsr()
        users = np.stack(
            [
                als.fold_in(matrix.indices[start:end].astype(np.int64))
                for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
            ]
        )
    else:
        bpr = fit_bpr(interactions, config, seed=data.seed)
        positions, factors = find_positions(index, bpr.model.item_ids), bpr.model.factors
        users = bpr.user_factors
    n_items = len(interactions.item_ids)

    def score(rows: Int64Array) -> Float32Array:
        values = users[rows] @ factors.T
        scores = np.zeros((len(rows), n_items), np.float32)
        scores[:, positions] = values - values.min(1, keepdims=True) + 1e-6
        return scores

    return score
