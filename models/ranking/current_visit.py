"""Effects of the current visit: a category that is being browsed, an item bought just now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array
from features.contracts.categories import SEPARATOR, levels
from features.contracts.histories import UserHistory
from features.contracts.visits import NO_VISIT, SILENCE_MS, VIEWED, Visit
from models.ranking.catalogue import Catalogue
from models.ranking.visitor import Visitor

FOCUS_VIEWS = 3  # items viewed in one category from which on the visit is about it
N_FOCUS_CANDIDATES = 20  # that a visit about a category, or about a search, gets from it
# A search is about the items that match it nearly as well as the best one, which matches well.
_MIN_MATCH, _NEAR_BEST = 0.3, 0.6
_FOCUS_SECONDS = 24 * 3600
_JUST_BOUGHT_SECONDS = 3 * 3600
# Buyers at the catalogue's mean repeat rate that are added to those of each item.
_PRIOR_BUYERS = 5.0
# From this many buyers on, an item with a repeat rate below this is not shown to who bought it.
_ENOUGH_BUYERS = 20.0
_NEVER_AGAIN_RATE = 0.02


def add_views(history: UserHistory, context_item_ids: tuple[str, ...], at: datetime) -> UserHistory:
    """Return the history with the context items viewed at `at`, the time of the request.

    Features are as of a whole hour; within a visit seconds count.
    """
    earlier = [
        (item_id, viewed_at)
        for item_id, viewed_at in zip(history.viewed_item_ids, history.viewed_at, strict=True)
        if item_id not in context_item_ids
    ]
    now = int(history.as_of.timestamp())
    context = tuple(dict.fromkeys(context_item_ids))
    return replace(
        history,
        viewed_item_ids=context + tuple(item_id for item_id, _ in earlier),
        viewed_at=(now,) * len(context) + tuple(viewed_at for _, viewed_at in earlier),
        visit=_extend_visit(history.visit, context, int(at.timestamp() * 1000)),
    )


def _extend_visit(visit: Visit, context: tuple[str, ...], now_ms: int) -> Visit:
    """Return the visit with the context items viewed now; those that were just viewed stay."""
    context = tuple(item_id for item_id in context if item_id not in visit.item_ids[:1])
    if not context:
        return visit
    at_ms = max([now_ms, *visit.at_ms[:1]])
    if visit.at_ms and at_ms - visit.at_ms[0] > SILENCE_MS:
        visit = NO_VISIT._replace(is_returning=True)
    return visit._replace(
        item_ids=context + visit.item_ids,
        kinds=(VIEWED,) * len(context) + visit.kinds,
        at_ms=(at_ms,) * len(context) + visit.at_ms,
        seconds=(None,) * len(context) + visit.seconds,
        is_returning=False if visit == NO_VISIT else visit.is_returning,
    )


def match_search(catalogue: Catalogue, text: str) -> BoolArray | None:
    """Return the items (n_items,) that match a search nearly as well as any does; None without
    one."""
    match = catalogue.text_match.score(text)
    best = float(match.max(initial=0.0))
    return match >= _NEAR_BEST * best if best >= _MIN_MATCH else None


def find_focus(catalogue: Catalogue, history: UserHistory) -> BoolArray | None:
    """Return the items (n_items,) of the categories that this visit is about; None without one.

    A category counts when FOCUS_VIEWS items below it were viewed within a day, at its deepest level
    that has them. A department alone is too wide to be what somebody looks for, unless the shop's
    categories end there.
    """
    since = int(history.as_of.timestamp()) - _FOCUS_SECONDS
    recent = [
        item_id
        for item_id, viewed_at in zip(history.viewed_item_ids, history.viewed_at, strict=True)
        if viewed_at >= since
    ]
    if len(recent) < FOCUS_VIEWS:
        return None
    names = _find_browsed_categories(catalogue, recent)
    if not names:
        return None
    focus = np.zeros(catalogue.n_items, bool)
    below = tuple(name + SEPARATOR for name in names)
    for code, category in enumerate(catalogue.category_names):
        if category in names or category.startswith(below):
            focus |= catalogue.whole_category == code
    return focus if focus.any() else None


def _find_browsed_categories(catalogue: Catalogue, item_ids: list[str]) -> set[str]:
    """Return the deepest categories with FOCUS_VIEWS of the items."""
    counts: Counter[tuple[str, ...]] = Counter()
    for item_id in item_ids:
        if item_id not in catalogue.index:
            continue
        path = levels(str(catalogue.items.category[catalogue.index[item_id]]))
        for depth in range(min(1, len(path) - 1), len(path)):
            counts[path[: depth + 1]] += 1
    often = [path for path, n in counts.items() if n >= FOCUS_VIEWS]
    deepest = [
        path
        for path in often
        if not any(other != path and other[: len(path)] == path for other in often)
    ]
    return {SEPARATOR.join(path) for path in deepest}


def interleave(focused: BoolArray) -> Int64Array:
    """Return an order of candidates (best first) with every other rank for the focused ones.

    When one of the two groups ends, the rest of the other follows.

    >>> interleave(np.array([False, False, False, True, True])).tolist()
    [3, 0, 4, 1, 2]
    """
    first, rest = np.flatnonzero(focused), np.flatnonzero(~focused)
    n = min(len(first), len(rest))
    pairs = np.stack([first[:n], rest[:n]], axis=1).ravel()
    return np.concatenate([pairs, first[n:], rest[n:]])


class RepeatRates:
    """How many buyers of an item come back for it; bound to one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        buyers, repeat_buyers = catalogue.buyers, catalogue.repeat_rate * catalogue.buyers
        mean = float(repeat_buyers.sum() / max(buyers.sum(), 1.0))
        self._shrunk_rate = (repeat_buyers + mean * _PRIOR_BUYERS) / (buyers + _PRIOR_BUYERS)
        never = catalogue.repeat_rate < _NEVER_AGAIN_RATE
        self._bought_once = (buyers >= _ENOUGH_BUYERS) & never
        columns = catalogue.items.columns
        self._known = "repeat_rate" in columns and "buyers" in columns

    def find_bought_once(self, bought: Int64Array) -> Int64Array:
        """Return those positions of `bought` that hardly anybody buys twice."""
        return bought[self._bought_once[bought]] if self._known else bought[:0]

    def find_just_bought(self, visitor: Visitor) -> dict[int, float]:
        """Return the repeat rates of the items bought on this visit, by position.

        Their relevance is multiplied by it. For everything else the ranker knows when it is due.
        """
        history, rows = visitor.history, visitor.history_rows
        since = int(history.as_of.timestamp()) - _JUST_BOUGHT_SECONDS
        if not self._known or not len(rows) or history.last_at.max() <= since:
            return {}
        positions = visitor.bought[history.last_at[rows] > since]
        rates = self._shrunk_rate[positions]
        return dict(zip(positions.tolist(), rates.tolist(), strict=True))
