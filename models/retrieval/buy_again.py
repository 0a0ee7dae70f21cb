"""Probability that a visitor buys an item again in the coming weeks, from the times of purchases.

After Bhagat et al., "Buy It Again: Modeling Repeat Purchase Recommendations", KDD 2018: the share
of an item's buyers who buy it again, and a Poisson rate per visitor and item with a gamma prior
from all buyers of the item. Here these two, decayed frequency and the time since the last purchase
(in mean gaps) are the terms of one logistic regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.histories import UserHistory
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.interactions import find_positions, number_ids

KIND = "buy_again"

# The hazard is linear in these terms; purchases of a minute and of an hour ago count alike.
TERMS = (
    "constant",
    "log_frequency",
    "log_rate",
    "log_repeat",
    "log_due",
    "log_due_squared",
    "log_recency",
)
_HOUR = 1 / (7 * 24)
_N_STEPS = 12


@dataclass(frozen=True)
class BuyAgainConfig:
    """How strongly statistics of an item are shrunk towards its category's, and these towards the
    shop's.

    prior_gaps     imagined gaps with the category's mean
    prior_buyers   imagined buyers with the category's share of repeat buyers
    l2             penalty of the weights
    """

    prior_gaps: float = 5.0
    prior_buyers: float = 20.0
    l2: float = 1.0


@dataclass(frozen=True)
class Gaps:
    """Time between purchases, and share of repeat buyers, by item.

    item_ids     str objects (n,), sorted
    gap_weeks    (n,) mean weeks between two orders of one visitor, shrunk towards the category's
    repeat       (n,) share of buyers with two orders or more, shrunk in the same way
    usual_gap, usual_repeat   those of the shop, for an unknown item
    """

    item_ids: ObjectArray
    gap_weeks: Float64Array
    repeat: Float64Array
    usual_gap: float
    usual_repeat: float


class BuyAgain:
    """Fitted gaps and the weights of TERMS."""

    def __init__(self, gaps: Gaps, weights: Float64Array) -> None:
        self.gaps = gaps
        self.weights = weights
        self._index = {item_id: row for row, item_id in enumerate(gaps.item_ids)}

    def score(self, history: UserHistory) -> Float32Array:
        """Return the probability that each item of the history is bought again, in its order.

        The period is as long as the one that the weights were fitted on.
        """
        terms = _compute_terms(self.gaps, self._index, history)
        return np.asarray(_sigmoid(terms @ self.weights), np.float32)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `gaps.npz`."""
        usual = {"usual_gap": self.gaps.usual_gap, "usual_repeat": self.gaps.usual_repeat}
        write_meta(
            folder, KIND, usual | {"weights": dict(zip(TERMS, self.weights.tolist(), strict=True))}
        )
        gaps = self.gaps
        write_arrays(
            folder / "gaps.npz",
            item_ids=gaps.item_ids,
            gap_weeks=gaps.gap_weeks,
            repeat=gaps.repeat,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "gaps.npz")
        stored = arrays["item_ids"], arrays["gap_weeks"], arrays["repeat"]
        weights = np.array([meta["weights"][name] for name in TERMS])
        return cls(Gaps(*stored, meta["usual_gap"], meta["usual_repeat"]), weights)


def fit_gaps(
    histories: Mapping[str, UserHistory], categories: Mapping[str, str], config: BuyAgainConfig
) -> Gaps:
    """Fit the statistics of the items in the histories.

    categories   by item, "" or missing where unknown
    """
    buyers = [history for _, history in sorted(histories.items()) if len(history.item_ids)]
    item_ids, item = number_ids(np.concatenate([history.item_ids for history in buyers]))
    n_orders = np.concatenate([history.n_orders for history in buyers]).astype(np.float64)
    seconds = np.concatenate([history.last_at - history.first_at for history in buyers])
    span = seconds / SECONDS_PER_WEEK
    category_names = [categories.get(item_id, "") for item_id in item_ids]
    _, category = np.unique(np.array(category_names, object), return_inverse=True)

    def sum_by_item(values: Float64Array) -> Float64Array:
        return np.bincount(item, values, len(item_ids)).astype(np.float64)

    weeks, n_gaps = sum_by_item(span), sum_by_item(n_orders - 1)
    n_repeating = sum_by_item((n_orders > 1).astype(np.float64))
    n_buyers = sum_by_item(np.ones(len(item)))
    usual_gap = max(float(weeks.sum()), 1.0) / max(float(n_gaps.sum()), 1.0)
    usual_repeat = (float(n_repeating.sum()) + 1) / (float(n_buyers.sum()) + 2)
    return Gaps(
        item_ids,
        _shrink_means(weeks, n_gaps, category, usual_gap, config.prior_gaps),
        _shrink_means(n_repeating, n_buyers, category, usual_repeat, config.prior_buyers),
        usual_gap,
        usual_repeat,
    )


def fit_buy_again(
    gaps: Gaps,
    histories: Mapping[str, UserHistory],
    bought: Mapping[str, Set[str]],
    config: BuyAgainConfig,
) -> Float64Array:
    """Return the weights of TERMS (7,), fitted by Newton's method.

    The label of a pair of user and item in `histories` is whether it was `bought` in the weeks
    after them.
    """
    index = {item_id: row for row, item_id in enumerate(gaps.item_ids)}
    users = sorted(user for user, history in histories.items() if len(history.item_ids))
    terms = np.concatenate([_compute_terms(gaps, index, histories[user]) for user in users])
    labels = []
    for user in users:
        bought_again = bought.get(user, ())
        labels += [item_id in bought_again for item_id in histories[user].item_ids]
    label = np.array(labels, bool)
    weights = np.zeros(len(TERMS))
    weights[0] = np.log((label.sum() + 1) / (len(label) - label.sum() + 1))
    penalty = np.full(len(TERMS), config.l2)
    penalty[0] = 1e-6
    for _ in range(_N_STEPS):
        chance = _sigmoid(terms @ weights)
        gradient = terms.T @ (label - chance) - penalty * weights
        curvature = (terms * (chance * (1 - chance))[:, None]).T @ terms + np.diag(penalty)
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


def _compute_terms(gaps: Gaps, index: Mapping[str, int], history: UserHistory) -> Float64Array:
    """Return TERMS of each item of the history (items, 7)."""
    rows = find_positions(index, history.item_ids)
    known = rows >= 0
    gap, repeat = np.full(len(rows), gaps.usual_gap), np.full(len(rows), gaps.usual_repeat)
    gap[known], repeat[known] = gaps.gap_weeks[rows[known]], gaps.repeat[rows[known]]
    now = int(history.as_of.timestamp())
    recency = np.maximum((now - history.last_at) / SECONDS_PER_WEEK, _HOUR)
    span = (history.last_at - history.first_at) / SECONDS_PER_WEEK
    n_orders = history.n_orders.astype(np.float64)
    # Gamma prior of one purchase per gap: the rate after n purchases in the weeks since the first.
    rate = (n_orders + 1) / (span + recency + gap)
    due = np.log(recency / ((span + gap) / n_orders))
    frequency = np.log(np.maximum(history.decayed_frequency.astype(np.float64), 1e-6))
    return np.stack(
        [np.ones(len(rows)), frequency, np.log(rate), np.log(repeat), due, due**2, np.log(recency)],
        axis=1,
    )


def _shrink_means(
    total: Float64Array, n: Float64Array, category: Int64Array, usual: float, prior: float
) -> Float64Array:
    """Return the mean of each item, shrunk by `prior` units towards its category's mean, which is
    shrunk towards the `usual` one of the shop."""
    n_categories = int(category.max()) + 1
    category_total = np.bincount(category, total, n_categories) + prior * usual
    category_mean = category_total / (np.bincount(category, n, n_categories) + prior)
    return np.asarray((total + prior * category_mean[category]) / (n + prior), np.float64)


def _sigmoid(values: Float64Array) -> Float64Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float64)
