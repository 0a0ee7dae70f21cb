"""Reports of experiments for people who look at them: computed once a minute, and over time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from experiments.definition import Experiment
from serving.experiments.service import ExperimentService

if TYPE_CHECKING:
    from experiments.analysis.report import ExperimentReport

KEEP_SECONDS = 60.0
MAX_POINTS = 14
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Entry(Generic[Result]):
    experiment: Experiment
    computed_at: float
    result: Result


class _Computed(Generic[Result]):
    """Results by the key of an experiment; two readers of one experiment wait for one computation.

    A result is computed anew where it is older than KEEP_SECONDS, or the experiment changed.
    """

    def __init__(self, read_seconds: Callable[[], float]) -> None:
        self._read_seconds = read_seconds
        self._entries: dict[str, _Entry[Result]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def read(self, experiment: Experiment, compute: Callable[[], Result]) -> Result:
        """Return the result of an experiment."""
        key = experiment.key
        with self._lock:
            lock = self._locks[key]
        with lock:
            entry = self._entries.get(key)
            now = self._read_seconds()
            if (
                entry is not None
                and entry.experiment == experiment
                and now - entry.computed_at < KEEP_SECONDS
            ):
                return entry.result
            entry = _Entry(experiment, now, compute())
            self._entries[key] = entry
            return entry.result


class ReportCache:
    """The reports of a process, read off its event loop.

    read_seconds   a clock that never goes back
    """

    def __init__(
        self, experiments: ExperimentService, read_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._experiments = experiments
        self._reports: _Computed[ExperimentReport] = _Computed(read_seconds)
        self._courses: _Computed[Sequence[ExperimentReport]] = _Computed(read_seconds)

    def read(self, key: str) -> ExperimentReport:
        """Return the report of now, at most KEEP_SECONDS old. Raises NotFound."""
        experiment = self._experiments.get(key)
        return self._reports.read(experiment, lambda: self._experiments.report(key))

    def read_course(self, key: str) -> Sequence[ExperimentReport]:
        """Return the reports at the ends of the days so far, at most MAX_POINTS, the last one that
        of now. Raises NotFound."""
        experiment = self._experiments.get(key)
        last = self.read(key)

        def compute() -> list[ExperimentReport]:
            if not last.days:
                return []
            first_day = datetime.fromisoformat(last.days[0].day).replace(tzinfo=UTC)
            instants = list_instants(first_day, last.counted_until)
            return [self._experiments.report(key, as_of=at) for at in instants] + [last]

        return self._courses.read(experiment, compute)


def list_instants(first_day: datetime, last: datetime) -> list[datetime]:
    """Return the ends of the days from the first one to `last`, before it; of more than MAX_POINTS
    less one, so many at even steps.

    >>> [at.day for at in list_instants(datetime(2024, 5, 1), datetime(2024, 5, 3, 12))]
    [2, 3]
    """
    n_days = max(0, -((first_day - last) // timedelta(days=1)) - 1)
    n_points = min(n_days, MAX_POINTS - 1)
    numbers = [1 + step * n_days // n_points for step in range(n_points)]
    return [first_day + timedelta(days=number) for number in numbers]
