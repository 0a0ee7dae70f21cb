"""Buy again with inter-purchase timing: how likely a visitor buys an item again in the coming
weeks.

After Bhagat et al., "Buy It Again: Modeling Repeat Purchase Recommendations", KDD 2018: the share
of an item's buyers who come back, and a Poisson rate per visitor and item with a gamma prior from
all who buy the item. Here the two meet decayed frequency and the time since the last purchase, in
gaps, in one logistic hazard whose weights are learnt.
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
from models.retrieval.interactions import find_positions

KIND = "buy_again"

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
    """Gaps and buyers of its category (and, for a category, of the shop) that an item's own
    statistics start from."""

    prior_gaps: float = 5.0
    prior_buyers: float = 20.0
    l2: float = 1.0


@dataclass(frozen=True)
class Gaps:
    """How an item is bought again.

    item_ids     str objects, sorted
    gap_weeks    mean weeks between two orders of one visitor, shrunk to the category's
    repeat       share of buyers with two orders or more, shrunk likewise
    usual_gap, usual_repeat   those of the shop, for an item that is not known
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
        """Probability that each item of the history, in its order, is bought again in a window like
        the learnt one."""
        return np.asarray(
            _sigmoid(_terms(self.gaps, self._index, history) @ self.weights), np.float32
        )

    def save(self, folder: Path) -> None:
        """Writes `model.json` and `gaps.npz`."""
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
        """Reads what `save` wrote."""
        meta, arrays = read_meta(folder, KIND), read_arrays(folder / "gaps.npz")
        stored = arrays["item_ids"], arrays["gap_weeks"], arrays["repeat"]
        weights = np.array([meta["weights"][name] for name in TERMS])
        return cls(Gaps(*stored, meta["usual_gap"], meta["usual_repeat"]), weights)


def fit_gaps(
    histories: Mapping[str, UserHistory], categories: Mapping[str, str], config: BuyAgainConfig
) -> Gaps:
    """Statistics of the items of the histories; `categories` by item, "" or missing where
    unknown."""
    bought = [each for _, each in sorted(histories.items()) if len(each.item_ids)]
    item_ids, item = np.unique(
        np.concatenate([each.item_ids for each in bought]), return_inverse=True
    )
    n_orders = np.concatenate([each.n_orders for each in bought]).astype(np.float64)
    span = np.concatenate([each.last_at - each.first_at for each in bought]) / SECONDS_PER_WEEK
    _, of = np.unique(
        np.array([categories.get(each, "") for each in item_ids], object), return_inverse=True
    )
    counted: list[Float64Array] = [
        span,
        n_orders - 1,
        (n_orders > 1).astype(np.float64),
        np.ones(len(item)),
    ]
    sums = [np.bincount(item, each, len(item_ids)).astype(np.float64) for each in counted]
    weeks, gaps, again, buyers = sums
    usual_gap = max(float(weeks.sum()), 1.0) / max(float(gaps.sum()), 1.0)
    usual_repeat = (float(again.sum()) + 1) / (float(buyers.sum()) + 2)
    gap = _shrunk(weeks, gaps, of, usual_gap, config.prior_gaps)
    return Gaps(
        item_ids,
        gap,
        _shrunk(again, buyers, of, usual_repeat, config.prior_buyers),
        usual_gap,
        usual_repeat,
    )


def fit_buy_again(
    gaps: Gaps,
    histories: Mapping[str, UserHistory],
    bought: Mapping[str, Set[str]],
    config: BuyAgainConfig,
) -> Float64Array:
    """Weights of TERMS, by Newton's method on whether each pair of `histories` was `bought` in the
    weeks after them."""
    index = {item_id: row for row, item_id in enumerate(gaps.item_ids)}
    users = sorted(user for user, history in histories.items() if len(history.item_ids))
    terms = np.concatenate([_terms(gaps, index, histories[user]) for user in users])
    label = np.concatenate(
        [
            np.fromiter((each in bought.get(user, ()) for each in histories[user].item_ids), bool)
            for user in users
        ]
    )
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


def _terms(gaps: Gaps, index: Mapping[str, int], history: UserHistory) -> Float64Array:
    """(items of the history, TERMS)."""
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


def _shrunk(
    total: Float64Array, n: Float64Array, of: Int64Array, usual: float, prior: float
) -> Float64Array:
    """Mean of each item, starting from `prior` units of its category's mean, which starts from the
    shop's."""
    n_categories = int(of.max()) + 1
    category = (np.bincount(of, total, n_categories) + prior * usual) / (
        np.bincount(of, n, n_categories) + prior
    )
    return np.asarray((total + prior * category[of]) / (n + prior), np.float64)


def _sigmoid(values: Float64Array) -> Float64Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float64)
