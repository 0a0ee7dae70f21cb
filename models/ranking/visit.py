"""What happens on this visit and no training could see: a category that is being browsed, an item bought just now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from features.contracts.categories import SEPARATOR, levels
from features.contracts.histories import UserHistory
from models.ranking.features import Catalogue, Positions

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FOCUS_VIEWS = 3  # so many items viewed in one category, and the visit is about it
_FOCUS_SECONDS = 24 * 3600
_REST_SECONDS = 3 * 3600
# Shares of few buyers lean on the catalogue's: as if so many more had been seen.
_PRIOR_BUYERS = 5.0
_ENOUGH_BUYERS = 20.0
# Below this share of buyers who come back for it, an item that was bought is not wanted again.
_NOT_AGAIN = 0.02


def with_context(history: UserHistory, context_item_ids: tuple[str, ...]) -> UserHistory:
    """The history of somebody who looks at the context items now."""
    others = [
        (item, at)
        for item, at in zip(history.viewed_item_ids, history.viewed_at, strict=True)
        if item not in context_item_ids
    ]
    now = int(history.as_of.timestamp())
    context = tuple(dict.fromkeys(context_item_ids))
    return replace(
        history,
        viewed_item_ids=context + tuple(item for item, _ in others),
        viewed_at=(now,) * len(context) + tuple(at for _, at in others),
    )


def focus(catalogue: Catalogue, history: UserHistory) -> Mask:
    """The items (n_items,) of the categories that this visit is about; none where it is about no category.

    A category counts when FOCUS_VIEWS items below it were viewed within a day, at its deepest level that has them. A
    department alone is too wide to be what somebody looks for, unless the shop's categories end there.
    """
    since = int(history.as_of.timestamp()) - _FOCUS_SECONDS
    recent = [item for item, at in zip(history.viewed_item_ids, history.viewed_at, strict=True) if at >= since]
    found = np.zeros(catalogue.n_items, bool)
    if len(recent) < FOCUS_VIEWS:
        return found
    paths = [levels(str(catalogue.items.category[catalogue.index[item]])) for item in recent if item in catalogue.index]
    counts = Counter(path[: depth + 1] for path in paths for depth in range(min(1, len(path) - 1), len(path)))
    wanted = [path for path, n in counts.items() if n >= FOCUS_VIEWS]
    deepest = [path for path in wanted if not any(o != path and o[: len(path)] == path for o in wanted)]
    if not deepest:
        return found
    names = {SEPARATOR.join(path) for path in deepest}
    below = tuple(name + SEPARATOR for name in names)
    for code, category in enumerate(catalogue.category_names):
        if category in names or category.startswith(below):
            found |= catalogue.whole_category == code
    return found


def interleaved(focused: Mask) -> npt.NDArray[np.int64]:
    """An order of candidates (best first) in which every other place belongs to the focused ones while they last.

    >>> interleaved(np.array([False, False, False, True, True])).tolist()
    [3, 0, 4, 1, 2]
    """
    first, rest = np.flatnonzero(focused), np.flatnonzero(~focused)
    n = min(len(first), len(rest))
    pairs = np.stack([first[:n], rest[:n]], axis=1).ravel()
    return np.concatenate([pairs, first[n:], rest[n:]])


def wanted_again(catalogue: Catalogue, history: UserHistory, own: Positions, rows: Positions) -> Numbers:
    """Per item bought (n_own,): what its relevance is multiplied by, as its repeat rate says.

    0: hardly anybody buys it twice, so it leaves. Below 1: bought on this visit, so the item drops to the share of its
    buyers who come back for it. 1: everything else, of which the ranker knows when it is due.
    """
    columns = catalogue.items.columns
    rate, buyers = columns.get("repeat_rate"), columns.get("buyers")
    again = np.ones(len(own))
    if rate is None or buyers is None or not len(own):
        return again
    mean = catalogue.repeat_rate
    n = np.nan_to_num(buyers[own].astype(np.float64))
    share = (np.nan_to_num(rate[own].astype(np.float64)) * n + mean * _PRIOR_BUYERS) / (n + _PRIOR_BUYERS)
    now_bought = history.last_at[rows] > int(history.as_of.timestamp()) - _REST_SECONDS
    again[now_bought] = share[now_bought]
    again[(n >= _ENOUGH_BUYERS) & (rate[own] < _NOT_AGAIN)] = 0.0
    return again
