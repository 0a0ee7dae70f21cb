"""Targets: the kinds of events that recommendations learn to predict, and how much each counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from features.contracts.errors import BadInput, UnknownName
from features.contracts.event_types import EventType
from features.contracts.visits import OUTCOMES
from features.online.histories import Tables
from features.pipelines.expressions import before

AUTO = "auto"
PURCHASE, ADD_TO_CART, VIEW = "purchase", "add_to_cart", "view"
# The events of each kind, the strongest kind first.
EVENT_TYPES: Mapping[str, tuple[EventType, ...]] = {
    PURCHASE: (EventType.PURCHASE,),
    ADD_TO_CART: (EventType.ADD_TO_CART,),
    VIEW: (EventType.VIEW_ITEM, EventType.SELECT_ITEM, EventType.ADD_TO_WISHLIST),
}
PURCHASES: Mapping[str, float] = {PURCHASE: 1.0}
_WHERE = "targets"


@dataclass(frozen=True)
class Targets:
    """The setting `targets`: a weight above 0 by kind; None chooses by the data."""

    weights: Mapping[str, float] | None

    @property
    def of_rankers(self) -> Mapping[str, float]:
        """The weights that the rankers of a known user's items learn with."""
        return PURCHASES if self.weights is None else self.weights

    @property
    def of_visits(self) -> Mapping[str, float]:
        """The weights that the ranker of visits learns with; where the data choose, every look
        counts alike."""
        return dict.fromkeys(OUTCOMES, 1.0) if self.weights is None else self.weights

    @property
    def setting(self) -> str:
        """How the setting reads in a report."""
        return AUTO if self.weights is None else format_weights(self.weights)


@dataclass(frozen=True)
class EventCounts:
    """What happened before an instant: events by kind, and the known users who bought."""

    of_kind: Mapping[str, int]
    buyers: int

    def describe(self) -> str:
        """Return the counts in words."""
        purchases, carts, views = (self.of_kind[kind] for kind in EVENT_TYPES)
        return (
            f"{purchases:,} purchases, of these by {self.buyers:,} known buyers, "
            f"{carts:,} additions to carts and {views:,} looks"
        )


def parse_targets(setting: str | Mapping[str, float]) -> Targets:
    """Return the targets of a setting: auto, one kind, or weights by kind.

    Raises UnknownName for a kind that does not exist, BadInput for weights that say nothing.

    >>> parse_targets({"purchase": 1, "view": 0.05, "add_to_cart": 0}).weights
    {'purchase': 1.0, 'view': 0.05}
    """
    if isinstance(setting, str):
        if setting == AUTO:
            return Targets(None)
        _check_kind(setting, (AUTO, *EVENT_TYPES))
        return Targets({setting: 1.0})
    for kind, weight in setting.items():
        _check_kind(kind, tuple(EVENT_TYPES))
        if not (math.isfinite(weight) and weight >= 0):
            raise BadInput(f"the weight of {kind} is {weight:g}", where=_WHERE, hint="0 or more")
    weights = {kind: float(setting[kind]) for kind in EVENT_TYPES if setting.get(kind, 0) > 0}
    if not weights:
        raise BadInput(
            "no kind has a weight above 0",
            where=_WHERE,
            hint=f"Name one of {', '.join(EVENT_TYPES)}, or write auto",
        )
    return Targets(weights)


def format_weights(weights: Mapping[str, float]) -> str:
    """Return a kind alone, or each with its weight.

    >>> format_weights({"purchase": 1.0, "view": 0.05})
    'purchase 1, view 0.05'
    """
    if len(weights) == 1:
        return next(iter(weights))
    return ", ".join(f"{kind} {weight:g}" for kind, weight in weights.items())


def count_events(facts: Tables, until: datetime) -> EventCounts:
    """Count the events before an instant."""
    events = before(facts.read("events"), until)
    rows = (
        events.group_by("event_type")
        .aggregate(n=events.count(), users=events.user_id.nunique())
        .to_pyarrow()
        .to_pylist()
    )
    by_type = {row["event_type"]: row for row in rows}
    none = {"n": 0, "users": 0}
    return EventCounts(
        {
            kind: sum(by_type.get(event_type.value, none)["n"] for event_type in event_types)
            for kind, event_types in EVENT_TYPES.items()
        },
        by_type.get(EventType.PURCHASE.value, none)["users"],
    )


def _check_kind(kind: str, valid: tuple[str, ...]) -> None:
    if kind not in valid:
        raise UnknownName(kind, valid, kind="target", where=_WHERE)
