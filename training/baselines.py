"""The recommenders that ours must stand beside: same data, same cut, the full catalogue ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.ranking.model import Retrieval, Task
from models.retrieval.als import AlsConfig, fit_als
from models.retrieval.interactions import Interactions, positions

_ALS = AlsConfig(n_factors=128, min_buyers=1)


def baseline_slates(
    task: Task,
    users: Sequence[str],
    histories: Mapping[str, UserHistory],
    items: ItemFeatures,
    interactions: Interactions,
    retrieval: Retrieval,
    *,
    k: int,
    seed: int,
) -> dict[str, dict[str, list[str]]]:
    """Slates by baseline and user. For the task "new", what the user bought is left out of every one.

    recent popularity: orders of the last four weeks. buy again: decayed frequency with popularity behind it.
    ALS: implicit's, 128 factors. ItemKNN: cosine. EASE: closed form on the most bought items.
    """
    item_ids = interactions.item_ids
    catalogue = {item_id: place for place, item_id in enumerate(items.item_ids)}
    popularity = np.nan_to_num(items.columns["orders_4w"][positions(catalogue, item_ids)]).astype(np.float64)
    popularity /= max(float(popularity.max()), 1e-9)
    index = {item_id: place for place, item_id in enumerate(item_ids)}
    als = fit_als(interactions, _ALS, seed=seed)
    at = {
        name: positions(index, source.item_ids)
        for name, source in (("EASE", retrieval.ease), ("ItemKNN", retrieval.similar), ("ALS", als))
    }
    inverse = {name: _inverse(places, len(item_ids)) for name, places in at.items()}
    slates: dict[str, dict[str, list[str]]] = {}
    for user in users:
        history = histories[user]
        own = positions(index, history.item_ids)
        rows = {name: found[found >= 0] for name in at for found in [inverse[name][own]]}
        scores = {
            "recent popularity": popularity,
            "buy again": 1e-5 * popularity,
            "EASE": _spread(
                retrieval.ease.score(rows["EASE"], np.ones(len(rows["EASE"]), np.float32)), at["EASE"], popularity
            ),
            "ItemKNN": _spread(retrieval.similar.score(rows["ItemKNN"]), at["ItemKNN"], popularity),
            "ALS": _spread(als.score(rows["ALS"]), at["ALS"], popularity),
        }
        scores["buy again"][own] += history.decayed_frequency
        for name, values in scores.items():
            masked = values.copy()
            if task == "new":
                masked[own] = -np.inf
            best = np.argpartition(-masked, min(k, len(masked) - 1))[:k]
            order = best[np.lexsort((best, -masked[best]))]
            slates.setdefault(name, {})[user] = [str(item_ids[place]) for place in order]
    return slates


def _spread(
    scores: npt.NDArray[np.float32], at: npt.NDArray[np.int64], like: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    whole = np.full_like(like, -1e9)
    whole[at] = scores
    return whole


def _inverse(at: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    inverse = np.full(n, -1, np.int64)
    inverse[at] = np.arange(len(at))
    return inverse
