"""Visits: what one visitor looked at in one go, and where one visit ends and the next begins.

A visit ends with a change of `session_id`; where an action has none, with half an hour of silence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from features.contracts.arrays import (
    BoolArray,
    Float64Array,
    Int8Array,
    Int64Array,
    ObjectArray,
)

if TYPE_CHECKING:
    from features.contracts.histories import UserHistory

SILENCE_MS = 30 * 60 * 1000
MAX_ACTIONS = 60  # of a visitor that are kept, the latest

VIEWED, SELECTED, CARTED, WISHED = 0, 1, 2, 3
# Kinds of devices, by the names that shops give them; any other name is OTHER_DEVICE.
DEVICES = {
    **dict.fromkeys(("phone", "mobile", "smartphone"), 0),
    "tablet": 1,
    **dict.fromkeys(("desktop", "computer", "pc", "laptop"), 2),
}
OTHER_DEVICE = 3
# Longer attributes of a look are not read: many looks wait for them in every answer.
MAX_LOOK_ATTRIBUTES = 2_000
# What came of a look by the end of its visit, the weakest first.
OUTCOMES = ("view", "add_to_cart", "purchase")


class Action(NamedTuple):
    """One look at an item.

    at_ms     epoch milliseconds
    kind      VIEWED, SELECTED, CARTED or WISHED
    seconds   how long the look took, where the shop sent it
    device    a number of DEVICES or OTHER_DEVICE, where the shop sent one
    """

    at_ms: int
    item_id: str
    kind: int
    session_id: str | None = None
    seconds: float | None = None
    device: int | None = None


class Visit(NamedTuple):
    """The actions of one visit, the latest first; aligned.

    seconds        how long each look took, where that was sent; shorter where nothing was
    device         of the latest action that has one
    is_returning   whether the visitor was there before, in the last four weeks; None: not known
    """

    item_ids: tuple[str, ...] = ()
    kinds: tuple[int, ...] = ()
    at_ms: tuple[int, ...] = ()
    seconds: tuple[float | None, ...] = ()
    device: int | None = None
    is_returning: bool | None = None

    def list_dwell_seconds(self) -> list[float]:
        """Return how long each look took: as sent, else until the next action.

        NaN for the latest: a page says how long it was open when it is left, and what is learnt
        from looks at a page has to be known while it is open.

        >>> Visit(("b", "a"), (0, 0), (9_000, 2_000), (40.0, None)).list_dwell_seconds()
        [nan, 7.0]
        """
        until_next = [(later - earlier) / 1000 for later, earlier in pairwise(self.at_ms)]
        sent = (*self.seconds[1:], *(None,) * len(until_next))
        pairs = zip(sent, until_next, strict=False)
        known = [passed if seconds is None else seconds for seconds, passed in pairs]
        return [math.nan, *known] if self.at_ms else []


NO_VISIT = Visit()


class LookDetails(NamedTuple):
    """What the attributes of a look say of it."""

    seconds: float | None = None
    device: int | None = None


NO_DETAILS = LookDetails()


def read_look_details(attributes: str | None) -> LookDetails:
    """Return `duration_seconds` and `device` of the attributes of an event, as stored.

    A duration that is no number of 0 or more is none.

    >>> read_look_details('{"duration_seconds": "12.5", "device": "Mobile"}')
    LookDetails(seconds=12.5, device=0)
    """
    if attributes is None or len(attributes) > MAX_LOOK_ATTRIBUTES:
        return NO_DETAILS
    values = json.loads(attributes)
    device = values.get("device")
    return LookDetails(
        _read_seconds(values.get("duration_seconds")),
        DEVICES.get(str(device).strip().lower(), OTHER_DEVICE) if device else None,
    )


def _read_seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


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
    seconds    float64 (n_actions,), how long each look took, NaN where that was not sent
    devices    int8 (n_actions,), as in Action, -1 where none was sent
    returning  bool (n_visits,), whether the visitor had a visit in the four weeks before
    outcomes   int8 (n_actions,), what came of each: a number of OUTCOMES; it is not known before
               the visit has ended, and is learnt, never seen
    users      str or None objects (n_visits,), who was signed in when the visit began
    """

    item_ids: ObjectArray
    starts: Int64Array
    items: Int64Array
    kinds: Int8Array
    at_ms: Int64Array
    visitors: Int64Array
    seconds: Float64Array
    devices: Int8Array
    returning: BoolArray
    outcomes: Int8Array
    users: ObjectArray

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
            seconds=np.full(len(items), np.nan),
            devices=np.full(len(items), -1, np.int8),
            returning=np.zeros(len(starts) - 1, bool),
            outcomes=np.zeros(len(items), np.int8),
            users=np.full(len(starts) - 1, None, object),
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
            seconds=self.seconds[actions],
            devices=self.devices[actions],
            returning=self.returning[rows],
            outcomes=self.outcomes[actions],
            users=self.users[rows],
        )

    def take_first(self, visit: int, n: int) -> Visit:
        """Return the first `n` actions of a visit, of these the latest MAX_ACTIONS, as a history
        holds them."""
        end = self.starts[visit] + n
        actions = slice(max(self.starts[visit], end - MAX_ACTIONS), end)
        known_devices = self.devices[actions][self.devices[actions] >= 0].tolist()
        return Visit(
            tuple(self.item_ids[self.items[actions]][::-1].tolist()),
            tuple(self.kinds[actions][::-1].tolist()),
            tuple(self.at_ms[actions][::-1].tolist()),
            tuple(
                None if math.isnan(seconds) else seconds
                for seconds in self.seconds[actions][::-1].tolist()
            ),
            known_devices[-1] if known_devices else None,
            bool(self.returning[visit]) if n < MAX_ACTIONS else None,
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
    # Where all actions that are kept are of this visit, those before are forgotten.
    is_returning = None if len(latest_first) == MAX_ACTIONS else False
    for later, earlier in pairwise(latest_first):
        if begins_visit(earlier, later):
            is_returning = True
            break
        if earlier.kind == SELECTED and later.kind == VIEWED and earlier.item_id == later.item_id:
            continue
        visit.append(earlier)
    return Visit(
        tuple(action.item_id for action in visit),
        tuple(action.kind for action in visit),
        tuple(action.at_ms for action in visit),
        tuple(action.seconds for action in visit),
        next((action.device for action in visit if action.device is not None), None),
        is_returning if visit else None,
    )


def begins_visit(earlier: Action, later: Action) -> bool:
    """Return whether `later`, which follows `earlier`, is the first action of another visit."""
    if earlier.session_id is not None and later.session_id is not None:
        return earlier.session_id != later.session_id
    return later.at_ms - earlier.at_ms > SILENCE_MS


def _order(action: Action) -> tuple[int, str, int, str]:
    return action.at_ms, action.item_id, action.kind, action.session_id or ""
