"""The recommenders that ours must stand beside: same data, same cut, the full catalogue ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import RankingTask, Retrieval
from models.retrieval.als import Als, AlsConfig, fit_als
from models.retrieval.bpr import Bpr, BprConfig, fit_bpr
from models.retrieval.ease import Ease, EaseConfig, fit_ease
from models.retrieval.interactions import Interactions, find_positions, invert_positions
from models.retrieval.item_knn import ItemKnn

_ALS = AlsConfig(n_factors=128, min_buyers=1)
_BPR = BprConfig(n_factors=64, n_iterations=40, min_buyers=1)


def baseline_slates(
    users: Mapping[RankingTask, Sequence[str]],
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    interactions: Interactions,
    retrieval: Retrieval,
    *,
    ease: EaseConfig,
    k: int,
    seed: int,
) -> dict[RankingTask, dict[str, dict[str, list[str]]]]:
    """Slates by task, baseline and user. For the task "new", what the user bought is left out of
    every one.

    recent popularity: orders of the last four weeks. buy again: decayed frequency with popularity
    behind it. ALS and BPR: implicit's, 128 and 64 factors. ItemKNN: cosine. EASE: closed form on
    the most bought items, in the form that is the strongest for each task: fitted on orders for
    "all", on their logarithm for "new".
    """
    item_ids = interactions.item_ids
    catalogue = {item_id: place for place, item_id in enumerate(items.item_ids)}
    popularity = np.nan_to_num(
        items.columns["orders_4w"][find_positions(catalogue, item_ids)]
    ).astype(np.float32)
    popularity /= max(float(popularity.max()), 1e-9)
    index = {item_id: place for place, item_id in enumerate(item_ids)}
    als = fit_als(interactions, _ALS, seed=seed)
    bpr = fit_bpr(interactions, _BPR, seed=seed)
    nobody = np.zeros(bpr.user_factors.shape[1], np.float32)
    rows_of_users = {user: row for row, user in enumerate(interactions.user_ids)}
    counted = {task: _count_ease(interactions, ease, task) for task in users}
    sources: dict[str, Ease | ItemKnn | Als | Bpr] = {
        "ItemKNN": retrieval.similar,
        "ALS": als,
        "BPR": bpr.model,
    }
    sources |= {f"EASE {task}": model for task, model in counted.items()}
    at = {name: find_positions(index, source.item_ids) for name, source in sources.items()}
    row_of = {name: invert_positions(places, len(item_ids)) for name, places in at.items()}
    wanted = {task: set(each) for task, each in users.items()}
    slates: dict[RankingTask, dict[str, dict[str, list[str]]]] = {task: {} for task in users}
    by_popularity = np.argsort(-popularity, kind="stable")
    for user in sorted(set().union(*wanted.values())):
        history = histories[user]
        own = find_positions(index, history.item_ids)
        rows = {name: found[found >= 0] for name in at for found in [row_of[name][own]]}
        scores = {
            "ItemKNN": retrieval.similar.score(rows["ItemKNN"]),
            "ALS": als.score(rows["ALS"]),
        }
        row = rows_of_users.get(user)  # None for a user who only looked
        scores["BPR"] = bpr.model.factors @ (bpr.user_factors[row] if row is not None else nobody)
        for task, of_task in wanted.items():
            if user not in of_task:
                continue
            name = f"EASE {task}"
            held = _held(history.n_orders[row_of[name][own] >= 0], task)
            scored = scores | {name: counted[task].score(rows[name], held[None])[0]}
            best = {
                name.removesuffix(f" {task}"): at[name][
                    _best(each, rows[name] if task == "new" else rows[name][:0], k)
                ]
                for name, each in scored.items()
            }
            best["recent popularity"] = _popular(
                by_popularity, own if task == "new" else own[:0], k
            )
            best["buy again"] = _buy_again(history, own, popularity, by_popularity, k, task)
            for name, places in best.items():
                slates[task].setdefault(name, {})[user] = [str(item_ids[place]) for place in places]
    return slates


def _count_ease(interactions: Interactions, config: EaseConfig, task: RankingTask) -> Ease:
    matrix = interactions.matrix.copy()
    matrix.data = _held(matrix.data, task)
    return fit_ease(replace(interactions, matrix=matrix), config, binary=False)


def _held(n_orders: Float32Array, task: RankingTask) -> Float32Array:
    """How much a user holds of an item that stood in so many orders."""
    return n_orders if task == "all" else np.log1p(n_orders)


def _best(scores: Float32Array, left_out: Int64Array, k: int) -> Int64Array:
    """Positions of the k highest, ties by position."""
    if len(left_out):
        scores = scores.copy()
        scores[left_out] = -np.inf
    k = min(k, len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    found = np.flatnonzero(scores >= threshold)
    return found[np.argsort(-scores[found], kind="stable")][:k]


def _popular(by_popularity: Int64Array, left_out: Int64Array, k: int) -> Int64Array:
    first = by_popularity[: k + len(left_out)]
    return first[~np.isin(first, left_out)][:k]


def _buy_again(
    history: UserHistory,
    own: Int64Array,
    popularity: Float32Array,
    by_popularity: Int64Array,
    k: int,
    task: RankingTask,
) -> Int64Array:
    """What was bought by decayed frequency, popular items behind it; only these where what was
    bought is left out."""
    behind = _popular(by_popularity, own, k)
    if task == "new":
        return behind
    scores = history.decayed_frequency + popularity[own] * np.float32(1e-5)
    return np.concatenate([own[np.lexsort((own, -scores))], behind])[:k]
