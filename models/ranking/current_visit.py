"""What happens on this visit and no training could see: a category that is being browsed, an item
bought just now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array
from features.contracts.categories import SEPARATOR, levels
from features.contracts.histories import UserHistory
from models.ranking.columns import Catalogue

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


def focus(catalogue: Catalogue, history: UserHistory) -> BoolArray | None:
    """The items (n_items,) of the categories that this visit is about; None where it is about no
    category.

    A category counts when FOCUS_VIEWS items below it were viewed within a day, at its deepest level
    that has them. A department alone is too wide to be what somebody looks for, unless the shop's
    categories end there.
    """
    since = int(history.as_of.timestamp()) - _FOCUS_SECONDS
    recent = [
        item
        for item, at in zip(history.viewed_item_ids, history.viewed_at, strict=True)
        if at >= since
    ]
    if len(recent) < FOCUS_VIEWS:
        return None
    paths = [
        levels(str(catalogue.items.category[catalogue.index[item]]))
        for item in recent
        if item in catalogue.index
    ]
    counts = Counter(
        path[: depth + 1] for path in paths for depth in range(min(1, len(path) - 1), len(path))
    )
    wanted = [path for path, n in counts.items() if n >= FOCUS_VIEWS]
    deepest = [
        path for path in wanted if not any(o != path and o[: len(path)] == path for o in wanted)
    ]
    if not deepest:
        return None
    found = np.zeros(catalogue.n_items, bool)
    names = {SEPARATOR.join(path) for path in deepest}
    below = tuple(name + SEPARATOR for name in names)
    for code, category in enumerate(catalogue.category_names):
        if category in names or category.startswith(below):
            found |= catalogue.whole_category == code
    return found if found.any() else None


def interleaved(focused: BoolArray) -> Int64Array:
    """An order of candidates (best first) in which every other place belongs to the focused ones
    while they last.

    >>> interleaved(np.array([False, False, False, True, True])).tolist()
    [3, 0, 4, 1, 2]
    """
    first, rest = np.flatnonzero(focused), np.flatnonzero(~focused)
    n = min(len(first), len(rest))
    pairs = np.stack([first[:n], rest[:n]], axis=1).ravel()
    return np.concatenate([pairs, first[n:], rest[n:]])


class BuyingAgain:
    """How much less an item is wanted by who bought it, as its repeat rate says; bound to one
    catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        buyers, again = catalogue.buyers, catalogue.repeat_rate * catalogue.buyers
        mean = float(again.sum() / max(buyers.sum(), 1.0))
        self._share = (again + mean * _PRIOR_BUYERS) / (buyers + _PRIOR_BUYERS)
        self._never = (buyers >= _ENOUGH_BUYERS) & (catalogue.repeat_rate < _NOT_AGAIN)
        self._known = (
            "repeat_rate" in catalogue.items.columns and "buyers" in catalogue.items.columns
        )

    def never(self, own: Int64Array) -> Int64Array:
        """Of the items bought those that hardly anybody buys twice: they leave."""
        return own[self._never[own]] if self._known else own[:0]

    def less(self, history: UserHistory, own: Int64Array, rows: Int64Array) -> dict[int, float]:
        """Of the items bought on this visit the share of buyers who come back: what their relevance
        drops to.

        Of everything else the ranker knows when it is due.
        """
        now = int(history.as_of.timestamp())
        if not self._known or not len(rows) or history.last_at.max() <= now - _REST_SECONDS:
            return {}
        lately = own[history.last_at[rows] > now - _REST_SECONDS]
        return dict(zip(lately.tolist(), self._share[lately].tolist(), strict=True))
