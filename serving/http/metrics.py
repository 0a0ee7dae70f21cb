"""The counters of a server process, and `GET /metrics` in Prometheus' text format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

from serving.http.auth import identify
from serving.http.dependencies import inject

router = APIRouter(tags=["health"])
_LOOPBACK = ("127.0.0.1", "::1")
_BUCKETS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


# Set by `serve` for its workers; prometheus_client reads it when it is imported. Feast sets one of
# its own.
SHARED_COUNTERS = "PROMETHEUS_MULTIPROC_DIR"


def counters_folder(home: Path) -> Path:
    """Return the folder in which the workers of the shop at `home` share their counters."""
    return home.absolute() / "metrics"


class Metrics:
    """The counters of one process; of all workers together where `serve` started several.

    before_scrape   called before a scrape is answered; whoever owns the process calls `observe`
                    in it
    """

    def __init__(self, home: Path | None = None) -> None:
        self.before_scrape: Callable[[], None] = lambda: None
        folder = None if home is None else str(counters_folder(home))
        self._shared = folder if folder == os.environ.get(SHARED_COUNTERS) else None
        self._models: set[tuple[str, str]] = set()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "shopwright_requests",
            "Answers by route and status",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "shopwright_request_seconds",
            "Time to answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.slates = Counter(
            "shopwright_slates",
            "Slates by placement and fallback",
            ("placement", "fallback"),
            registry=self.registry,
        )
        self.events = Counter(
            "shopwright_events", "Events by outcome", ("outcome",), registry=self.registry
        )
        self.shed = Counter(
            "shopwright_shed", "Requests refused because of load", registry=self.registry
        )
        self.in_flight = self._gauge("shopwright_in_flight", "Requests being answered", "livesum")
        self.model = self._gauge(
            "shopwright_model_info",
            "1 for each version served, 0 for one served before",
            "livemax",
            "name",
            "version",
        )
        self.exposures_waiting = self._gauge(
            "shopwright_exposures_waiting", "Exposures and logged slates queued", "livesum"
        )
        self.exposures_dropped = self._gauge(
            "shopwright_exposures_dropped", "Exposures and logged slates lost", "sum"
        )
        self.fault = self._gauge(
            "shopwright_fault",
            "1 while a part does not work, 0 once it does again",
            "livemax",
            "part",
        )

    def _gauge(
        self, name: str, meaning: str, mode: Literal["livesum", "livemax", "sum"], *labels: str
    ) -> Gauge:
        """A gauge whose values of several workers are put together by `mode`."""
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=mode)

    def count_slate(self, placement: str, fallback: str | None) -> None:
        """Count a slate, and why popular items stood in for personal ones if they did."""
        self.slates.labels(placement, fallback or "none").inc()

    def observe(
        self,
        *,
        exposures_waiting: int,
        exposures_dropped: int,
        served_versions: Mapping[str, str],
        faults: Mapping[str, bool],
    ) -> None:
        """Set the gauges of state that is not counted as it changes.

        Called from time to time too, as a scrape reaches one worker only. `served_versions` has
        the version by model, `faults` whether a part does not work, by part.
        """
        self.exposures_waiting.set(exposures_waiting)
        self.exposures_dropped.set(exposures_dropped)
        served = set(served_versions.items())
        self._models |= served
        for name, version in self._models:
            self.model.labels(name, version).set(float((name, version) in served))
        for part, is_faulty in faults.items():
            self.fault.labels(part).set(float(is_faulty))

    def text(self) -> bytes:
        """Return everything counted so far, in Prometheus' text format."""
        if self._shared is None:
            return bytes(generate_latest(self.registry))
        combined = CollectorRegistry()
        MultiProcessCollector(combined, self._shared)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(combined))

    def close(self) -> None:
        """Remove this process's gauges from the sum of the workers; its counts stay."""
        if self._shared is not None:
            mark_process_dead(os.getpid(), self._shared)  # type: ignore[no-untyped-call]


@router.get("/metrics", response_class=Response)
async def get_metrics(
    request: Request, metrics: Annotated[Metrics, Depends(inject(Metrics))]
) -> Response:
    """Open on loopback; from elsewhere it needs a key with the scope metrics."""
    if request.client is None or request.client.host not in _LOOPBACK:
        (await identify(request)).require("metrics")
    metrics.before_scrape()
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
