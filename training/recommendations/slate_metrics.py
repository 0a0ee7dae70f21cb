"""From slates of item ids to figures: arrays over users for every metric, of all users and of parts
of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from features.contracts.categories import SEPARATOR, levels
from models.retrieval.interactions import find_positions
from training.recommendations import metrics
from training.recommendations.evaluation_input import Slates, Subject

ACCURACY = ("NDCG", "recall", "hit rate", "MAP")
ITEM_CLASSES = ("head", "torso", "tail")
N_ACTIVITY_BUCKETS = 4


@dataclass(frozen=True)
class Ranked:
    """One method's slates as arrays: of the judged users (aligned with them), and of everyone."""

    hits: BoolArray
    places: Int64Array
    everyone: Int64Array


class Ruler:
    """Measures slates of one task against what is relevant there.

    Items are numbered: the known ones (bought before the cut) first, those that only the catalogue
    has after them. head, torso and tail are the items that carry the first, second and last third
    of all orders before the cut.
    """

    def __init__(self, subject: Subject, relevant: Mapping[str, frozenset[str]]) -> None:
        self.users = sorted(relevant)
        interactions = subject.interactions
        known = interactions.item_ids
        others = np.setdiff1d(subject.items.item_ids.astype(str), known.astype(str)).astype(object)
        item_ids = np.concatenate([known, others])
        self.n_known = len(known)
        self.index = {str(item_id): place for place, item_id in enumerate(item_ids)}
        self._subject = subject
        self._relevant = self._matrix(
            {user: sorted(relevant[user]) for user in self.users}, self.users
        )
        self.n_relevant: Int64Array = (self._relevant >= 0).sum(1)
        n_buyers = np.zeros(len(item_ids))
        n_buyers[: self.n_known] = np.asarray(interactions.binarise().sum(0)).ravel()
        n_users = len(interactions.user_ids)
        self._share_buyers = n_buyers / n_users
        self._information = metrics.self_information(n_buyers, n_users)
        self.item_class = _item_classes(
            np.asarray(interactions.matrix.sum(0)).ravel(), len(item_ids)
        )
        self._paths = _paths(self._categories(item_ids))
        self._own_popularity = self._popularity_of_histories()

    def ranked(self, slates: Slates, length: int) -> Ranked:
        """The slates of everyone as arrays of `length` places."""
        everyone = sorted(slates)
        places = self._matrix(slates, everyone, length)
        row = {user: place for place, user in enumerate(everyone)}
        judged = places[[row[user] for user in self.users]]
        return Ranked(_among(judged, self._relevant), judged, places)

    def accuracy(self, ranked: Ranked, k: int) -> dict[str, Float64Array]:
        """The metrics of ACCURACY at k, by user."""
        return _accuracy(ranked.hits, self.n_relevant, k)

    def beyond(self, ranked: Ranked, k: int) -> dict[str, Float64Array]:
        """What accuracy does not tell of the first k, by user.

        The popularity lift is the mean share of buyers of what is shown ÷ that of what the judged
        users bought before, minus 1 (Abdollahpouri et al., The unfairness of popularity bias in
        recommendation, RMSE 2019).
        """
        shown = metrics.means_over_places(ranked.places, self._share_buyers, k)
        head = (self.item_class == 0).astype(np.float64)
        return {
            "novelty": metrics.means_over_places(ranked.places, self._information, k),
            "diversity": metrics.diversities(ranked.places, self._paths, k),
            "popularity lift": shown / self._own_popularity - 1,
            "head share": metrics.means_over_places(ranked.places, head, k),
        }

    def of_all(self, ranked: Ranked, k: int) -> dict[str, float]:
        """Figures of everyone's slates together: those of users with nothing to be foretold too."""
        known = np.where(ranked.everyone < self.n_known, ranked.everyone, -1)
        return {
            "coverage": metrics.covered(known, self.n_known, k),
            "Gini": metrics.gini(known, self.n_known, k),
        }

    @cached_property
    def item_parts(self) -> dict[str, BoolArray]:
        """The relevant items in parts, aligned with them: bought before or new to the user, head to
        tail."""
        ids = list(self.index)
        own = [set(self._subject.histories[user].item_ids) for user in self.users]
        repeat = [
            [ids[at] in mine for at in row] for row, mine in zip(self._relevant, own, strict=True)
        ]
        bought = np.array(repeat, bool).reshape(self._relevant.shape)
        classes = self.item_class[self._relevant]
        parts = {"bought before": bought, "new to the user": ~bought}
        return parts | {
            f"{name} items": classes == number for number, name in enumerate(ITEM_CLASSES)
        }

    def of_part(self, ranked: Ranked, part: BoolArray, metric: str, k: int) -> Float64Array:
        """`metric` with only one of `item_parts` counted as relevant; NaN for users without such an
        item."""
        relevant = np.where(part, self._relevant, -1)
        n_relevant = (relevant >= 0).sum(1)
        values = _accuracy(_among(ranked.places, relevant), n_relevant, k)[metric]
        return np.where(n_relevant > 0, values, np.nan)

    def by_activity(self) -> dict[str, BoolArray]:
        """The judged users in quantiles of their orders before the cut; fewer where many have the
        same number."""
        histories = self._subject.histories
        n_orders = np.array([histories[user].features.get("frequency", 0.0) for user in self.users])
        inner = np.quantile(n_orders, np.arange(1, N_ACTIVITY_BUCKETS) / N_ACTIVITY_BUCKETS)
        bucket = np.searchsorted(np.unique(inner), n_orders, side="left")
        found = {}
        for number in np.unique(bucket):
            members = bucket == number
            low, high = n_orders[members].min(), n_orders[members].max()
            span = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
            found[f"{span} orders"] = members
        return found

    def _matrix(
        self, slates: Slates, users: Sequence[str], length: int | None = None
    ) -> Int64Array:
        """One row a user, -1 behind the end of a shorter slate."""
        width = max((len(slates[user]) for user in users), default=0) if length is None else length
        matrix = np.full((len(users), width), -1, np.int64)
        for row, user in zip(matrix, users, strict=True):
            found = [self.index[item] for item in slates[user][:width]]
            row[: len(found)] = found
        return matrix

    def _categories(self, item_ids: ObjectArray) -> list[str]:
        items = self._subject.items
        category = {
            str(item_id): str(each)
            for item_id, each in zip(items.item_ids, items.category, strict=True)
        }
        return [category.get(str(item_id), "") for item_id in item_ids]

    def _popularity_of_histories(self) -> float:
        """Mean over the judged users of the mean share of buyers of what each bought before the
        cut."""
        histories = self._subject.histories
        means = [
            self._share_buyers[places[places >= 0]].mean()
            for user in self.users
            for places in [find_positions(self.index, histories[user].item_ids)]
            if (places >= 0).any()
        ]
        return float(np.mean(means)) if means else float("nan")


def _accuracy(hits: BoolArray, n_relevant: Int64Array, k: int) -> dict[str, Float64Array]:
    return {
        "NDCG": metrics.ndcgs(hits, n_relevant, k),
        "recall": metrics.recalls(hits, n_relevant, k),
        "hit rate": metrics.hit_rates(hits, k),
        "MAP": metrics.average_precisions(hits, n_relevant, k),
    }


def _among(places: Int64Array, relevant: Int64Array) -> BoolArray:
    """Whether each place holds one of its own row's relevant items."""
    width = int(max(places.max(initial=0), relevant.max(initial=0))) + 1
    rows = np.arange(len(places))[:, None] * width
    wanted = (relevant + rows)[relevant >= 0]
    return np.asarray(np.isin(places + rows, wanted) & (places >= 0))


def _item_classes(n_orders: Float64Array, n_items: int) -> Int64Array:
    """0, 1 and 2 for the items that carry the first, second and last third of the orders; 2 for
    what nobody bought."""
    classes = np.full(n_items, len(ITEM_CLASSES) - 1, np.int64)
    order = np.argsort(-n_orders, kind="stable")
    before = np.cumsum(n_orders[order]) - n_orders[order]
    classes[order] = np.minimum(
        before / max(n_orders.sum(), 1e-9) * len(ITEM_CLASSES), len(ITEM_CLASSES) - 1
    )
    return classes


def _paths(categories: Sequence[str]) -> Int64Array:
    """(items, levels): a number for each prefix of the category, -1 below its last level."""
    split = [levels(category) for category in categories]
    depth = max((len(each) for each in split), default=0)
    numbers: dict[str, int] = {}
    paths = np.full((len(split), max(depth, 1)), -1, np.int64)
    for row, names in zip(paths, split, strict=True):
        for level in range(len(names)):
            row[level] = numbers.setdefault(SEPARATOR.join(names[: level + 1]), len(numbers))
    return paths
