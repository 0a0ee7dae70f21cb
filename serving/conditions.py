"""What is wrong in a process at the moment: a log line when that changes, a metric all the time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from features.contracts.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """Why a part does not work, and since when; None where nobody asks."""

    reason: str
    since: datetime | None


class Conditions:
    """The parts of one process that do not work, each with the reason.

    Work that is tried again every few seconds reports here, so that a fault of hours is two lines
    of the log and not thousands.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._faults: dict[str, Fault] = {}
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def report(self, part: str, reason: str) -> None:
        """Note that `part` does not work; logged when it worked before, or for another reason.

        The first line of the reason counts: a database's goes on with the values of the statement.
        """
        reason = reason.partition("\n")[0]
        with self._lock:
            before = self._faults.get(part)
            if before is not None and before.reason == reason:
                return
            now = None if self._clock is None else self._clock.now()
            since = now if before is None else before.since
            self._faults[part] = Fault(reason, since)
            self._known.add(part)
        log.warning("%s: %s", part, reason)

    def clear(self, part: str) -> None:
        """Note that `part` works; logged when it did not before."""
        with self._lock:
            if self._faults.pop(part, None) is None:
                return
        log.info("%s: works again", part)

    @property
    def states(self) -> Mapping[str, bool]:
        """Whether there is a fault, by part; parts that never had one are left out."""
        with self._lock:
            return {part: part in self._faults for part in self._known}

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The parts that do not work now."""
        with self._lock:
            return dict(self._faults)
