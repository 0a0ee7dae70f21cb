"""Metrics of one method's slates: by user, of everyone together, by part of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import SEPARATOR, levels
from models.retrieval.interactions import find_positions
from training.recommendations import metrics
from training.recommendations.evaluation_input import EvaluationInput, RelevantItems, Slates

ITEM_CLASSES = ("head", "torso", "tail")
N_ACTIVITY_GROUPS = 4


@dataclass(frozen=True)
class SlateArrays:
    """One method's slates as arrays.

    hits        bool (users, ranks), of the evaluated users: whether the item is relevant
    positions   int64 (users, ranks), of the evaluated users: the item's position, -1 for none
    everyone    int64 (all users, ranks), as `positions`, of every known user
    """

    hits: BoolArray
    positions: Int64Array
    everyone: Int64Array


class SlateMetrics:
    """Metrics of the slates of one task; `users` are those with a relevant item, sorted.

    Positions number the known items (bought before the cut) first, then those that only the
    catalogue has. head, torso and tail are the items with the first, second and last third of all
    orders before the cut.
    """

    def __init__(self, data: EvaluationInput, relevant: RelevantItems) -> None:
        self.users = sorted(relevant)
        interactions = data.interactions
        known = interactions.item_ids
        others = np.setdiff1d(data.items.item_ids.astype(str), known.astype(str)).astype(object)
        item_ids = np.concatenate([known, others])
        self.n_known = len(known)
        self.index = {str(item_id): position for position, item_id in enumerate(item_ids)}
        self._histories = data.histories
        relevant_ids = {user: sorted(relevant[user]) for user in self.users}
        self._relevant = self._position_matrix(relevant_ids, self.users)
        self.n_relevant: Int64Array = (self._relevant >= 0).sum(1)
        n_buyers = np.zeros(len(item_ids))
        n_buyers[: self.n_known] = np.asarray(interactions.binarise().sum(0)).ravel()
        n_users = len(interactions.user_ids)
        self._share_buyers = n_buyers / n_users
        self._information = metrics.self_information(n_buyers, n_users)
        n_orders = np.asarray(interactions.matrix.sum(0)).ravel()
        self.item_class = _classify_items(n_orders, len(item_ids))
        self._paths = _number_categories(_item_categories(data, item_ids))
        self._history_popularity = self._mean_history_popularity()

    def to_arrays(self, slates: Slates, length: int) -> SlateArrays:
        """Return the slates of every known user as arrays of `length` ranks."""
        everyone = sorted(slates)
        every_position = self._position_matrix(slates, everyone, length)
        row = {user: n for n, user in enumerate(everyone)}
        evaluated = every_position[[row[user] for user in self.users]]
        return SlateArrays(_find_hits(evaluated, self._relevant), evaluated, every_position)

    def measure_accuracy(self, slates: SlateArrays, k: int) -> dict[str, Float64Array]:
        """Return NDCG, recall, hit rate and MAP at k by user (users,)."""
        return _measure_accuracy(slates.hits, self.n_relevant, k)

    def measure_beyond_accuracy(self, slates: SlateArrays, k: int) -> dict[str, Float64Array]:
        """Return novelty, diversity and popularity of the first k by user (users,).

        The popularity lift is the mean share of buyers of what is shown ÷ that of what the
        evaluated users bought before, minus 1 (Abdollahpouri et al., The unfairness of popularity
        bias in recommendation, RMSE 2019).
        """
        shown = metrics.mean_values(slates.positions, self._share_buyers, k)
        head = (self.item_class == 0).astype(np.float64)
        return {
            "novelty": metrics.mean_values(slates.positions, self._information, k),
            "diversity": metrics.diversities(slates.positions, self._paths, k),
            "popularity lift": shown / self._history_popularity - 1,
            "head share": metrics.mean_values(slates.positions, head, k),
        }

    def measure_all_slates(self, slates: SlateArrays, k: int) -> dict[str, float]:
        """Return coverage and Gini of everyone's slates, users without a relevant item included."""
        known = np.where(slates.everyone < self.n_known, slates.everyone, -1)
        return {
            "coverage": metrics.coverage(known, self.n_known, k),
            "Gini": metrics.gini(known, self.n_known, k),
        }

    @cached_property
    def item_parts(self) -> dict[str, BoolArray]:
        """Masks of the relevant items: bought before, new to the user, head, torso, tail."""
        ids = list(self.index)
        bought_before = np.zeros(self._relevant.shape, bool)
        for row, user in enumerate(self.users):
            own = set(self._histories[user].item_ids)
            bought_before[row] = [ids[position] in own for position in self._relevant[row]]
        parts = {"bought before": bought_before, "new to the user": ~bought_before}
        classes = self.item_class[self._relevant]
        for number, name in enumerate(ITEM_CLASSES):
            parts[f"{name} items"] = classes == number
        return parts

    def measure_part(
        self, slates: SlateArrays, part: BoolArray, metric: str, k: int
    ) -> Float64Array:
        """Return an accuracy metric with only one of `item_parts` counted as relevant.

        (users,); NaN for users without such an item.
        """
        relevant = np.where(part, self._relevant, -1)
        n_relevant = (relevant >= 0).sum(1)
        hits = _find_hits(slates.positions, relevant)
        values = _measure_accuracy(hits, n_relevant, k)[metric]
        return np.where(n_relevant > 0, values, np.nan)

    def group_by_activity(self) -> dict[str, BoolArray]:
        """Return masks (users,) of the quantiles of orders before the cut, by name.

        There are fewer groups than N_ACTIVITY_GROUPS where many users have the same number.
        """
        n_orders = np.array(
            [self._histories[user].features.get("frequency", 0.0) for user in self.users]
        )
        inner = np.quantile(n_orders, np.arange(1, N_ACTIVITY_GROUPS) / N_ACTIVITY_GROUPS)
        group = np.searchsorted(np.unique(inner), n_orders, side="left")
        groups = {}
        for number in np.unique(group):
            members = group == number
            low, high = n_orders[members].min(), n_orders[members].max()
            span = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
            groups[f"{span} orders"] = members
        return groups

    def _position_matrix(
        self, item_ids: Slates, users: Sequence[str], length: int | None = None
    ) -> Int64Array:
        """Return the positions of each user's items, one row a user, -1 behind the last one."""
        width = length
        if width is None:
            width = max((len(item_ids[user]) for user in users), default=0)
        matrix = np.full((len(users), width), -1, np.int64)
        for row, user in zip(matrix, users, strict=True):
            row_positions = [self.index[item] for item in item_ids[user][:width]]
            row[: len(row_positions)] = row_positions
        return matrix

    def _mean_history_popularity(self) -> float:
        """Return the mean over users of the mean share of buyers of what each bought before."""
        means = []
        for user in self.users:
            own = find_positions(self.index, self._histories[user].item_ids)
            if (own >= 0).any():
                means.append(self._share_buyers[own[own >= 0]].mean())
        return float(np.mean(means)) if means else float("nan")


def _measure_accuracy(hits: BoolArray, n_relevant: Int64Array, k: int) -> dict[str, Float64Array]:
    return {
        "NDCG": metrics.ndcgs(hits, n_relevant, k),
        "recall": metrics.recalls(hits, n_relevant, k),
        "hit rate": metrics.hit_rates(hits, k),
        "MAP": metrics.average_precisions(hits, n_relevant, k),
    }


def _find_hits(slates: Int64Array, relevant: Int64Array) -> BoolArray:
    """Return whether each item of a slate is among the relevant items of the same row."""
    width = int(max(slates.max(initial=0), relevant.max(initial=0))) + 1
    offsets = np.arange(len(slates))[:, None] * width
    relevant_keys = (relevant + offsets)[relevant >= 0]
    return np.asarray(np.isin(slates + offsets, relevant_keys) & (slates >= 0))


def _classify_items(n_orders: Float64Array, n_items: int) -> Int64Array:
    """Return 0, 1 or 2 for the items with the first, second and last third of the orders.

    2 for items that nobody bought.
    """
    classes = np.full(n_items, len(ITEM_CLASSES) - 1, np.int64)
    order = np.argsort(-n_orders, kind="stable")
    before = np.cumsum(n_orders[order]) - n_orders[order]
    classes[order] = np.minimum(
        before / max(n_orders.sum(), 1e-9) * len(ITEM_CLASSES), len(ITEM_CLASSES) - 1
    )
    return classes


def _item_categories(data: EvaluationInput, item_ids: ObjectArray) -> list[str]:
    items = data.items
    category_of = {
        str(item_id): str(category)
        for item_id, category in zip(items.item_ids, items.category, strict=True)
    }
    return [category_of.get(str(item_id), "") for item_id in item_ids]


def _number_categories(categories: Sequence[str]) -> Int64Array:
    """Return (items, levels): a number for each prefix of the category, -1 below the last level."""
    split = [levels(category) for category in categories]
    depth = max((len(names) for names in split), default=0)
    numbers: dict[str, int] = {}
    paths = np.full((len(split), max(depth, 1)), -1, np.int64)
    for row, names in zip(paths, split, strict=True):
        for level in range(len(names)):
            row[level] = numbers.setdefault(SEPARATOR.join(names[: level + 1]), len(numbers))
    return paths
