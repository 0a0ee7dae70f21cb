"""What somebody should look at: the warnings of a zone, and the numbers that the frame shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from features.contracts.errors import NotFound, Unavailable
from serving.access import Area
from serving.console.queue_rows import WAITING
from serving.console.texts import Texts
from serving.inventory.service import InventoryRow
from serving.price_desk.filters import SuggestionFilter
from serving.server import Server

Value = TypeVar("Value")
_CACHED_SECONDS = 5.0
_NAMED_ITEMS = 3  # of those that run out


@dataclass(frozen=True)
class Notice:
    """A warning: the key of its text with the values in it, and the page that says more."""

    key: str
    values: Mapping[str, object]
    path: str

    def write(self, texts: Texts) -> str:
        """Return the warning in words."""
        return texts.get(self.key, **self.values)


@dataclass(frozen=True)
class FrameCounts:
    """What the frame shows: suggestions that wait where somebody may read, and warnings; None while
    another page reads them."""

    waiting: int | None
    warnings: int | None


def read_notices(server: Server, zone: str) -> list[Notice]:
    """Return the warnings of a zone: parts that fail, models that were refused, stock-outs."""
    return [*_list_problems(server), *_list_refused_models(server), *_list_stock_outs(server, zone)]


def _list_problems(server: Server) -> list[Notice]:
    """Return what does not work, and what answers with less than it should."""
    problems = {part: fault.reason for part, fault in server.conditions.faults.items()}
    for states in (server.readiness.missing(), server.readiness.degraded()):
        problems.update(states)
    return [
        Notice("notices.part", {"part": part, "reason": reason}, "/health")
        for part, reason in problems.items()
    ]


def _list_refused_models(server: Server) -> list[Notice]:
    """Return the newest model of each name that the gate refused, with the reason."""
    try:
        refused = server.models.list_refused()
    except Unavailable as error:
        values = {"part": "models", "reason": error.what}
        return [Notice("notices.part", values, "/health")]
    return [
        Notice(
            "notices.refused",
            {
                "model": version.name,
                "version": version.version,
                "reason": version.tags.get("verdict", ""),
            },
            f"/models?model={version.name}&version={version.version}",
        )
        for version in refused
    ]


def _list_stock_outs(server: Server, zone: str) -> list[Notice]:
    """Return one warning of the items that run out before an order can arrive, if there are any."""
    try:
        _, inventory = server.inventory.list_items(zone)
    except (NotFound, Unavailable):
        return []  # no forecasts yet: the pages of demand and stock say how to get them
    short = [row for row in inventory.rows if is_running_out(row)]
    if not short:
        return []
    short.sort(key=lambda row: row.days_of_cover or 0.0)
    names = ", ".join(row.title or row.item_id for row in short[:_NAMED_ITEMS])
    values = {"n": len(short), "items": names}
    return [Notice("notices.stock_outs", values, "/stock?show=all&sort=cover")]


def is_running_out(row: InventoryRow) -> bool:
    """Return whether the stock lasts less long than an order takes."""
    return row.days_of_cover is not None and row.days_of_cover < row.lead_time_days


class _Cached(Generic[Value]):
    """Values by zone, each read again after some seconds. Safe to share between threads.

    One thread reads a zone at a time. Others get what was known before, or None: pages of ten
    people must not wait for one slow answer, with all the threads that read for them.
    """

    def __init__(self, read: Callable[[str], Value]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._values: dict[str, tuple[float, Value]] = {}
        self._reading: dict[str, int] = {}  # zones, with the generation that each is read for
        self._generation = 0

    def get(self, zone: str) -> Value | None:
        with self._lock:
            until, value = self._values.get(zone, (0.0, None))
            if time.monotonic() < until or zone in self._reading:
                return value
            generation = self._reading[zone] = self._generation
        value = None
        try:
            value = self._read(zone)
        finally:
            self._end_reading(zone, generation, value)
        return value

    def _end_reading(self, zone: str, generation: int, value: Value | None) -> None:
        """Keep what was read, unless all was forgotten since: another thread may read by now."""
        with self._lock:
            if generation != self._generation:
                return
            self._reading.pop(zone, None)
            if value is not None:
                self._values[zone] = time.monotonic() + _CACHED_SECONDS, value

    def forget(self) -> None:
        with self._lock:
            self._generation += 1
            self._values.clear()
            self._reading.clear()


class CountService:
    """Counts for the frame of every page; what it counted is valid for some seconds."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting = _Cached(self._count_waiting)
        self._warnings = _Cached(self._count_warnings)

    def count(self, zone: str, areas: Sequence[Area]) -> FrameCounts:
        """Return the numbers of a zone for somebody whose role reaches these areas."""
        by_category = self._waiting.get(zone)
        if by_category is None:
            waiting = None
        else:
            waiting = sum(
                count
                for category, count in by_category.items()
                if any(area.contains(category, zone) for area in areas)
            )
        return FrameCounts(waiting, self._warnings.get(zone))

    def forget(self) -> None:
        """Count anew the next time: something was written."""
        self._waiting.forget()
        self._warnings.forget()

    def _count_waiting(self, zone: str) -> Mapping[str, int]:
        criteria = SuggestionFilter(zone=zone, status=(WAITING,))
        return self._server.price_desk.count_suggestions(criteria, "category")

    def _count_warnings(self, zone: str) -> int:
        batches = self._server.effects.list_warnings(zone)
        return len(read_notices(self._server, zone)) + len(batches)
