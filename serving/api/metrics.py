"""`GET /metrics` in Prometheus' text format, and what is counted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from features.contracts.errors import Forbidden
from serving.api.auth import identify

router = APIRouter(tags=["health"])
_LOOPBACK = ("127.0.0.1", "::1")
_BUCKETS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "shopwright_requests", "Answers by route and status", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "shopwright_request_seconds", "Time to answer", ("route",), buckets=_BUCKETS, registry=self.registry
        )
        self.slates = Counter(
            "shopwright_slates", "Slates by placement and fallback", ("placement", "fallback"), registry=self.registry
        )
        self.events = Counter("shopwright_events", "Events by outcome", ("outcome",), registry=self.registry)
        self.shed = Counter("shopwright_shed", "Requests refused because of load", registry=self.registry)
        self.in_flight = Gauge("shopwright_in_flight", "Requests being answered", registry=self.registry)
        self.model = Gauge("shopwright_model_info", "The versions served", ("name", "version"), registry=self.registry)
        self.exposures_waiting = Gauge("shopwright_exposures_waiting", "Exposures queued", registry=self.registry)
        self.exposures_dropped = Gauge("shopwright_exposures_dropped", "Exposures lost", registry=self.registry)

    def text(self) -> bytes:
        """Everything counted so far."""
        return bytes(generate_latest(self.registry))


@router.get("/metrics", response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Open on loopback; from elsewhere a key with the scope metrics is asked for."""
    if request.client is None or request.client.host not in _LOOPBACK:
        caller = await identify(request)
        if "metrics" not in caller.scopes:
            raise Forbidden("this key lacks the scope metrics", hint="Use a key made with --scope metrics")
    server: Any = request.app.state.server
    metrics: Metrics = server.metrics
    metrics.exposures_waiting.set(server.exposures.waiting)
    metrics.exposures_dropped.set(server.exposures.dropped)
    metrics.model.clear()
    for name, version in server.champions.versions.items():
        metrics.model.labels(name, version.version).set(1)
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
