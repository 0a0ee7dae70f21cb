"""Clocks of tests: one that stands still, one that a test moves, and that of the system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.contracts.clock import SystemClock


@dataclass(frozen=True)
class FixedClock:
    """The same instant at every call."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass
class MovingClock:
    """A clock that stands still until a test moves it."""

    at: datetime

    def now(self) -> datetime:
        return self.at


SYSTEM_CLOCK = SystemClock()
