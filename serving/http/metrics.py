"""`GET /metrics` in Prometheus' text format, and what is counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
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

from features.contracts.errors import Forbidden
from serving.http.auth import identify

if TYPE_CHECKING:
    from serving.server import Server

router = APIRouter(tags=["health"])
_LOOPBACK = ("127.0.0.1", "::1")
_BUCKETS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


# Set by `serve` for its workers; prometheus_client reads it when it is imported. Feast sets one of
# its own.
SHARED_COUNTERS = "PROMETHEUS_MULTIPROC_DIR"


def shared_folder(home: Path) -> Path:
    """Where the workers of the shop at `home` count together."""
    return home.absolute() / "metrics"


class Metrics:
    """The counters of one process; of all workers together where `serve` started several."""

    def __init__(self, home: Path | None = None) -> None:
        folder = None if home is None else str(shared_folder(home))
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
            "shopwright_exposures_waiting", "Exposures queued", "livesum"
        )
        self.exposures_dropped = self._gauge(
            "shopwright_exposures_dropped", "Exposures lost", "sum"
        )

    def _gauge(self, name: str, meaning: str, together: Any, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=together)

    def observe(self, server: Server) -> None:
        """Takes the state that is not counted as it changes. Called from time to time, as other
        workers cannot ask."""
        self.exposures_waiting.set(server.exposures.waiting)
        self.exposures_dropped.set(server.exposures.dropped)
        served = {(name, version.version) for name, version in server.champions.versions.items()}
        self._models |= served
        for name, version in self._models:
            self.model.labels(name, version).set(float((name, version) in served))

    def text(self) -> bytes:
        """Everything counted so far."""
        if self._shared is None:
            return bytes(generate_latest(self.registry))
        together = CollectorRegistry()
        MultiProcessCollector(together, self._shared)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(together))

    def close(self) -> None:
        """Takes this process's present state out of what the workers tell together; its counts
        stay."""
        if self._shared is not None:
            mark_process_dead(os.getpid(), self._shared)  # type: ignore[no-untyped-call]


@router.get("/metrics", response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Open on loopback; from elsewhere a key with the scope metrics is asked for."""
    if request.client is None or request.client.host not in _LOOPBACK:
        caller = await identify(request)
        if "metrics" not in caller.scopes:
            raise Forbidden(
                "this key lacks the scope metrics", hint="Use a key made with --scope metrics"
            )
    server: Server = request.app.state.server
    server.metrics.observe(server)
    return Response(server.metrics.text(), media_type=CONTENT_TYPE_LATEST)
