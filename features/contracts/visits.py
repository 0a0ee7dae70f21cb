"""Visits: what one visitor looked at in one go, and where one visit ends and the next begins.

A visit ends with a change of `session_id`; where an action has none, with half an hour of silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from features.contracts.arrays import Int8Array, Int64Array, ObjectArray

if TYPE_CHECKING:
    from features.contracts.histories import UserHistory

SILENCE_MS = 30 * 60 * 1000
MAX_ACTIONS = 60  # of a visitor that are kept, the latest

VIEWED, SELECTED, CARTED = 0, 1, 2
# What came of a look by the end of its visit, the weakest first.
OUTCOMES = ("view", "add_to_cart", "purchase")


class Action(NamedTuple):
    """One look at an item; `kind` is VIEWED, SELECTED or CARTED, `at_ms` epoch milliseconds."""

    at_ms: int
    item_id: str
    kind: int
    session_id: str | None = None


class Visit(NamedTuple):
    """The actions of one visit, the latest first; aligned."""

    item_ids: tuple[str, ...] = ()
    kinds: tuple[int, ...] = ()
    at_ms: tuple[int, ...] = ()


NO_VISIT = Visit()


@dataclass(frozen=True)
class Visits:
    """The visits of many visitors, in the order of their last actions.

    item_ids   str objects (n_items,), sorted ascending
    starts     int64 (n_visits + 1,); the actions of visit k are `starts[k]:starts[k + 1]`, the
               earliest first
    items      int64 (n_actions,), positions in `item_ids`
    kinds      int8 (n_actions,)
    at_ms      int64 (n_actions,)
    visitors   int64 (n_visits,), a number of the visitor
    outcomes   int8 (n_actions,), what came of each: a number of OUTCOMES; it is not known before
               the visit has ended, and is learnt, never seen
    """

    item_ids: ObjectArray
    starts: Int64Array
    items: Int64Array
    kinds: Int8Array
    at_ms: Int64Array
    visitors: Int64Array
    outcomes: Int8Array

    @classmethod
    def of_views(
        cls, item_ids: ObjectArray, starts: Int64Array, items: Int64Array, at_ms: Int64Array
    ) -> Self:
        """Return visits of looks alone, each by a visitor of its own."""
        return cls(
            item_ids=item_ids,
            starts=starts,
            items=items,
            kinds=np.full(len(items), VIEWED, np.int8),
            at_ms=at_ms,
            visitors=np.arange(len(starts) - 1),
            outcomes=np.zeros(len(items), np.int8),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def began_at(self) -> Int64Array:
        """The epoch milliseconds of the first action of each visit."""
        return self.at_ms[self.starts[:-1]]

    @property
    def ended_at(self) -> Int64Array:
        """The epoch milliseconds of the last action of each visit."""
        return self.at_ms[self.starts[1:] - 1]

    @property
    def lengths(self) -> Int64Array:
        """The number of actions of each visit."""
        return np.diff(self.starts)

    def select(self, rows: Int64Array) -> Visits:
        """Return the visits at `rows`, in that order."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        actions = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Visits(
            item_ids=self.item_ids,
            starts=starts,
            items=self.items[actions],
            kinds=self.kinds[actions],
            at_ms=self.at_ms[actions],
            visitors=self.visitors[rows],
            outcomes=self.outcomes[actions],
        )

    def take_first(self, visit: int, n: int) -> Visit:
        """Return the first `n` actions of a visit, of these the latest MAX_ACTIONS, as a history
        holds them."""
        end = self.starts[visit] + n
        actions = slice(max(self.starts[visit], end - MAX_ACTIONS), end)
        return Visit(
            tuple(self.item_ids[self.items[actions]][::-1].tolist()),
            tuple(self.kinds[actions][::-1].tolist()),
            tuple(self.at_ms[actions][::-1].tolist()),
        )


def find_purchases(history: UserHistory) -> Visit:
    """Return the latest MAX_ACTIONS distinct items bought as if they were one visit.

    By the last purchase of each; those of one instant by item_id.
    """
    order = np.lexsort((history.item_ids, history.last_at))[::-1][:MAX_ACTIONS]
    at_ms = (history.last_at[order] * 1000).tolist()
    return Visit(tuple(history.item_ids[order].tolist()), (VIEWED,) * len(order), tuple(at_ms))


def find_latest_visit(actions: Sequence[Action]) -> Visit:
    """Return the visit that the last action belongs to; of the latest MAX_ACTIONS of `actions`.

    A selection right before the view that it led to is one look, not two.

    >>> [view, cart] = [Action(0, "a", VIEWED), Action(1000, "a", CARTED)]
    >>> find_latest_visit([cart, view]).kinds
    (2, 0)
    >>> find_latest_visit([view, cart._replace(at_ms=SILENCE_MS + 1)]).kinds
    (2,)
    """
    latest_first = sorted(actions, key=_order, reverse=True)[:MAX_ACTIONS]
    visit = latest_first[:1]
    for later, earlier in pairwise(latest_first):
        if begins_visit(earlier, later):
            break
        if earlier.kind == SELECTED and later.kind == VIEWED and earlier.item_id == later.item_id:
            continue
        visit.append(earlier)
    return Visit(
        tuple(action.item_id for action in visit),
        tuple(action.kind for action in visit),
        tuple(action.at_ms for action in visit),
    )


def begins_visit(earlier: Action, later: Action) -> bool:
    """Return whether `later`, which follows `earlier`, is the first action of another visit."""
    if earlier.session_id is not None and later.session_id is not None:
        return earlier.session_id != later.session_id
    return later.at_ms - earlier.at_ms > SILENCE_MS


def _order(action: Action) -> tuple[int, str, int, str]:
    return action.at_ms, action.item_id, action.kind, action.session_id or ""
