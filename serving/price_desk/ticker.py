"""What a server does for the price desk every few seconds: prices go live, rules approve."""

from __future__ import annotations

from datetime import datetime

from serving.database.activation_stops import ActivationStop
from serving.price_desk.service import PriceDeskService


class DeskTicker:
    """Ticks for one process. Any number of processes may tick: each price is activated once.

    problem   that activations are stopped, by whom and why; None while they go on
    """

    def __init__(self, desk: PriceDeskService) -> None:
        self._desk = desk
        self._considered_at: datetime | None = None
        self.problem: str | None = None

    def tick(self) -> None:
        """Activate what is due, and let the approval rules look at what came since the last
        tick."""
        self._desk.catch_up()
        stop = self._desk.find_stop()
        self.problem = None if stop is None else describe_stop(stop)
        now = self._desk.clock.now()
        self._desk.approve_by_rules(self._considered_at)
        self._considered_at = now


def describe_stop(stop: ActivationStop) -> str:
    """Return a stop in words."""
    return (
        f"{stop.stopped_by} stopped activations at {stop.stopped_at.isoformat()}: {stop.reason}; "
        "approved prices wait. To go on: shopwright prices resume"
    )
