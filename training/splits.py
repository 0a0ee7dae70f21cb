"""Splits by time: a cut, and the window of whole business weeks after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.contracts.calendar import add_weeks, week_start
from features.contracts.errors import BadInput
from features.store.facts import Facts


@dataclass(frozen=True)
class Window:
    """Known: what occurred before `cut`. To be foretold: what occurs from `cut` until before `end`."""

    cut: datetime
    end: datetime


def end_of_data(facts: Facts, until: datetime | None, timezone: str) -> datetime:
    """The first business week's start that no visible event has reached; `until` hides what occurs from then on."""
    latest = facts.latest_event_at()
    if latest is None:
        raise BadInput("there are no events to train on", hint="Try: shopwright import DIR")
    if until is not None and until <= latest:
        return until
    start = week_start(latest, timezone)
    return start if start == latest else add_weeks(start, 1, timezone)


def windows(end: datetime, n: int, n_weeks: int, timezone: str) -> list[Window]:
    """The last `n` windows of `n_weeks` each, the latest first; they touch and do not overlap."""
    cuts = [add_weeks(end, -n_weeks * k, timezone) for k in range(n + 1)]
    return [Window(cut, following) for cut, following in zip(cuts[1:], cuts[:-1], strict=True)]
