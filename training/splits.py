"""Splits by time: a cut, and the window of whole business weeks after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.errors import BadInput
from features.contracts.tables import EventType
from features.facts.facts import Facts
from features.pipelines.expressions import before

_LAST_DAYS = timedelta(days=2)  # of a week: a sale on one of them shows that the week is over


@dataclass(frozen=True)
class Window:
    """Known: what occurred before `cut`. To predict: what occurs from `cut` until before `end`."""

    cut: datetime
    end: datetime


def end_of_data(facts: Facts, until: datetime | None, timezone: str) -> datetime:
    """Return the start of the first business week after the last visible event.

    `until` hides what occurs from then on. Raises BadInput without events.
    """
    latest = facts.latest_event_at()
    if latest is None:
        raise BadInput("there are no events to train on", hint="Try: shopwright import DIR")
    if until is not None and until <= latest:
        return until
    start = find_week_start(latest, timezone)
    return start if start == latest else add_weeks(start, 1, timezone)


def span_of_sales(facts: Facts, until: datetime | None, timezone: str) -> tuple[datetime, datetime]:
    """Return the time of the first sale, and the end of the last whole week before `until`.

    A week with a sale on one of its last two days counts as over: a week that is still being filled
    would look like a slump. Raises BadInput without sales.
    """
    events = facts.read("events")
    events = events.filter(events.event_type == EventType.PURCHASE.value)
    if until is not None:
        events = before(events, until)
    row = (
        events.aggregate(first=events.occurred_at.min(), last=events.occurred_at.max())
        .to_pyarrow()
        .to_pylist()[0]
    )
    if row["first"] is None:
        raise BadInput("there are no purchases to learn from", hint="Try: shopwright import DIR")
    latest = row["last"] + _LAST_DAYS
    return row["first"], find_week_start(latest if until is None else min(until, latest), timezone)


def windows(end: datetime, n: int, n_weeks: int, timezone: str) -> list[Window]:
    """Return the last `n` windows of `n_weeks` each, the latest first, without gap or overlap."""
    cuts = [add_weeks(end, -n_weeks * k, timezone) for k in range(n + 1)]
    return [Window(cut, following) for cut, following in zip(cuts[1:], cuts[:-1], strict=True)]
