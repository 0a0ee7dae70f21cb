"""The recommenders that ours must stand beside: same data, same cut, the full catalogue ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import Retrieval, Task
from models.retrieval.als import Als, AlsConfig, fit_als
from models.retrieval.ease import Ease
from models.retrieval.interactions import Interactions, positions
from models.retrieval.item_knn import ItemKnn

_ALS = AlsConfig(n_factors=128, min_buyers=1)


def baseline_slates(
    users: Mapping[Task, Sequence[str]],
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    interactions: Interactions,
    retrieval: Retrieval,
    *,
    k: int,
    seed: int,
) -> dict[Task, dict[str, dict[str, list[str]]]]:
    """Slates by task, baseline and user. For the task "new", what the user bought is left out of every one.

    recent popularity: orders of the last four weeks. buy again: decayed frequency with popularity behind it.
    ALS: implicit's, 128 factors. ItemKNN: cosine. EASE: closed form on the most bought items.
    """
    item_ids = interactions.item_ids
    catalogue = {item_id: place for place, item_id in enumerate(items.item_ids)}
    popularity = np.nan_to_num(items.columns["orders_4w"][positions(catalogue, item_ids)]).astype(np.float32)
    popularity /= max(float(popularity.max()), 1e-9)
    index = {item_id: place for place, item_id in enumerate(item_ids)}
    als = fit_als(interactions, _ALS, seed=seed)
    sources: dict[str, Ease | ItemKnn | Als] = {"EASE": retrieval.ease, "ItemKNN": retrieval.similar, "ALS": als}
    at = {name: positions(index, source.item_ids) for name, source in sources.items()}
    inverse = {name: _inverse(places, len(item_ids)) for name, places in at.items()}
    wanted = {task: set(each) for task, each in users.items()}
    slates: dict[Task, dict[str, dict[str, list[str]]]] = {task: {} for task in users}
    for user in sorted(set().union(*wanted.values())):
        history = histories[user]
        own = positions(index, history.item_ids)
        rows = {name: found[found >= 0] for name in at for found in [inverse[name][own]]}
        ease = retrieval.ease.score(rows["EASE"], np.ones(len(rows["EASE"]), np.float32))
        scores = {
            "recent popularity": popularity,
            "buy again": _decayed(history, own, popularity),
            "EASE": _spread(ease, at["EASE"], len(item_ids)),
            "ItemKNN": _spread(retrieval.similar.score(rows["ItemKNN"]), at["ItemKNN"], len(item_ids)),
            "ALS": _spread(als.score(rows["ALS"]), at["ALS"], len(item_ids)),
        }
        for task, of_task in wanted.items():
            if user not in of_task:
                continue
            for name, values in scores.items():
                best = _best(values, own if task == "new" else own[:0], k)
                slates[task].setdefault(name, {})[user] = [str(item_ids[place]) for place in best]
    return slates


def _best(scores: npt.NDArray[np.float32], left_out: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """Positions of the k highest, ties by position."""
    if len(left_out):
        scores = scores.copy()
        scores[left_out] = -np.inf
    k = min(k, len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    found = np.flatnonzero(scores >= threshold)
    return found[np.argsort(-scores[found], kind="stable")][:k]


def _decayed(
    history: UserHistory, own: npt.NDArray[np.int64], popularity: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    scores = popularity * np.float32(1e-5)
    scores[own] += history.decayed_frequency
    return scores


def _spread(scores: npt.NDArray[np.float32], at: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.float32]:
    whole = np.full(n, -1e9, np.float32)
    whole[at] = scores
    return whole


def _inverse(at: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    inverse = np.full(n, -1, np.int64)
    inverse[at] = np.arange(len(at))
    return inverse
