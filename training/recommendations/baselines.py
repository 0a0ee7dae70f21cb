"""Slates of the simpler recommenders: same data, same cut, the full catalogue ranked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.histories import UserHistory
from models.ranking.model import RankingTask
from models.ranking.scorers.buy_again_rule import score_by_buy_again_rule
from models.retrieval.als import Als, AlsConfig, fit_als
from models.retrieval.bpr import Bpr, BprConfig, fit_bpr
from models.retrieval.ease import Ease, EaseConfig, fit_ease
from models.retrieval.interactions import Interactions, find_positions, invert_positions
from models.retrieval.item_knn import ItemKnn
from training.recommendations.evaluation_input import EvaluationInput

POPULARITY = "recent popularity"
BUY_AGAIN = "buy again"
EASE = "EASE"

_ALS = AlsConfig(n_factors=128, min_buyers=1)
_BPR = BprConfig(n_factors=64, n_iterations=40, min_buyers=1)
_NO_ITEMS = np.zeros(0, np.int64)

BaselineSlates = dict[RankingTask, dict[str, dict[str, list[str]]]]


def make_baseline_slates(
    data: EvaluationInput, tasks: Sequence[RankingTask], length: int
) -> BaselineSlates:
    """Return the slates of every known user by task, baseline and user.

    In the task "new" no baseline shows an item that the user has bought.

    recent popularity   orders of the last four weeks
    buy again           decayed frequency, popular items behind
    ALS, BPR            of implicit, 128 and 64 factors
    ItemKNN             cosine similarity
    EASE                closed form on the most bought items, in the form that is strongest in each
                        task: fitted on the number of orders for "all", on its logarithm for "new"
    """
    baselines = _Baselines(data, tasks, length)
    item_ids = data.interactions.item_ids
    slates: BaselineSlates = {task: {} for task in tasks}
    for user in sorted(data.histories):
        scores = baselines.score(user)
        for task in tasks:
            for name, best in baselines.rank(user, task, scores):
                slate = [str(item_ids[position]) for position in best]
                slates[task].setdefault(name, {})[user] = slate
    return slates


class _Source:
    """A fitted source, with maps between its rows and the positions of the known items."""

    def __init__(self, model: Ease | ItemKnn | Als | Bpr, index: dict[str, int]) -> None:
        self.positions = find_positions(index, model.item_ids)
        self._rows = invert_positions(self.positions, len(index))

    def find_rows(self, own: Int64Array) -> Int64Array:
        """Return the source's rows of the items at the positions `own`, -1 where it has none."""
        return self._rows[own]

    def find_known_rows(self, own: Int64Array) -> Int64Array:
        """Return the rows of those of `own` that the source has."""
        rows = self._rows[own]
        return rows[rows >= 0]


class _Baselines:
    """Every baseline, fitted at the cut; positions are those of `Interactions.item_ids`."""

    def __init__(self, data: EvaluationInput, tasks: Sequence[RankingTask], length: int) -> None:
        interactions = data.interactions
        item_ids = interactions.item_ids
        self._histories, self._length = data.histories, length
        self._index = {item_id: position for position, item_id in enumerate(item_ids)}
        self._popularity = _popularity(data)
        self._by_popularity = np.argsort(-self._popularity, kind="stable")
        self._item_knn = data.model.retrieval.similar
        self._als = fit_als(interactions, _ALS, seed=data.seed)
        self._bpr = fit_bpr(interactions, _BPR, seed=data.seed)
        self._users = {user: row for row, user in enumerate(interactions.user_ids)}
        self._unknown_user = np.zeros(self._bpr.user_factors.shape[1], np.float32)
        self._ease = {task: _fit_ease(interactions, data.ease, task) for task in tasks}
        self._sources = {
            "ItemKNN": _Source(self._item_knn, self._index),
            "ALS": _Source(self._als, self._index),
            "BPR": _Source(self._bpr.model, self._index),
        }
        self._ease_sources = {
            task: _Source(model, self._index) for task, model in self._ease.items()
        }

    def score(self, user: str) -> dict[str, Float32Array]:
        """Return the scores of the baselines that are the same in every task, by name."""
        own = self._find_positions(self._histories[user])
        row = self._users.get(user)  # None for a user who only viewed
        factors = self._bpr.user_factors[row] if row is not None else self._unknown_user
        return {
            "ItemKNN": self._item_knn.score(self._sources["ItemKNN"].find_known_rows(own)),
            "ALS": self._als.score(self._sources["ALS"].find_known_rows(own)),
            "BPR": self._bpr.model.factors @ factors,
        }

    def rank(
        self, user: str, task: RankingTask, scores: dict[str, Float32Array]
    ) -> Iterator[tuple[str, Int64Array]]:
        """Yield each baseline's name and the positions of its best items, best first."""
        history = self._histories[user]
        own = self._find_positions(history)
        ease_scores = self._score_by_ease(history, own, task)
        sources = {**self._sources, EASE: self._ease_sources[task]}
        for name, values in {**scores, EASE: ease_scores}.items():
            source = sources[name]
            left_out = source.find_known_rows(own) if task == "new" else _NO_ITEMS
            yield name, source.positions[_best_rows(values, left_out, self._length)]
        yield POPULARITY, self._most_popular(own if task == "new" else _NO_ITEMS)
        yield BUY_AGAIN, self._buy_again(history, own, task)

    def _find_positions(self, history: UserHistory) -> Int64Array:
        return find_positions(self._index, history.item_ids)

    def _score_by_ease(
        self, history: UserHistory, own: Int64Array, task: RankingTask
    ) -> Float32Array:
        source = self._ease_sources[task]
        weights = _weigh_orders(history.n_orders[source.find_rows(own) >= 0], task)
        scores: Float32Array = self._ease[task].score(source.find_known_rows(own), weights[None])[0]
        return scores

    def _most_popular(self, left_out: Int64Array) -> Int64Array:
        first = self._by_popularity[: self._length + len(left_out)]
        return first[~np.isin(first, left_out)][: self._length]

    def _buy_again(self, history: UserHistory, own: Int64Array, task: RankingTask) -> Int64Array:
        """Return what was bought by the rule, popular items behind; only these for "new"."""
        behind = self._most_popular(own)
        if task == "new":
            return behind
        scores = score_by_buy_again_rule(history.decayed_frequency, self._popularity[own])
        return np.concatenate([own[np.lexsort((own, -scores))], behind])[: self._length]


def _popularity(data: EvaluationInput) -> Float32Array:
    """Return the orders of the last four weeks of each known item, as a share of the most."""
    catalogue = {item_id: position for position, item_id in enumerate(data.items.item_ids)}
    known = find_positions(catalogue, data.interactions.item_ids)
    popularity = np.nan_to_num(data.items.columns["orders_4w"][known]).astype(np.float32)
    popularity /= max(float(popularity.max()), 1e-9)
    return popularity


def _fit_ease(interactions: Interactions, config: EaseConfig, task: RankingTask) -> Ease:
    matrix = interactions.matrix.copy()
    matrix.data = _weigh_orders(matrix.data, task)
    return fit_ease(replace(interactions, matrix=matrix), config, binary=False)


def _weigh_orders(n_orders: Float32Array, task: RankingTask) -> Float32Array:
    """Return the weight of an item that a user has ordered so many times."""
    return n_orders if task == "all" else np.log1p(n_orders)


def _best_rows(scores: Float32Array, left_out: Int64Array, k: int) -> Int64Array:
    """Return the rows of the k highest scores, the first of equal ones."""
    if len(left_out):
        scores = scores.copy()
        scores[left_out] = -np.inf
    k = min(k, len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= threshold)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
