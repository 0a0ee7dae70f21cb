"""Middleware before every request: limits on its size and on the requests in flight, and counts."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.errors import problem
from serving.http.metrics import Metrics

MAX_BODY_BYTES = 4 * 1024 * 1024
_ALWAYS_ANSWERED = ("/healthz", "/readyz", "/metrics")


class Limits:
    """ASGI middleware. Requests beyond `max_inflight` get 503 at once and do not wait in a
    queue."""

    def __init__(self, app: ASGIApp, *, max_inflight: int, metrics: Metrics) -> None:
        self._app = app
        self._max_inflight = max_inflight
        self._metrics = metrics
        self._n_inflight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in _ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        if self._n_inflight >= self._max_inflight:
            self._metrics.shed.inc()
            busy = problem(503, "Unavailable", "the server is busy", headers={"Retry-After": "1"})
            await busy(scope, receive, send)
            return
        self._n_inflight += 1
        self._metrics.in_flight.set(self._n_inflight)
        try:
            await self._count(scope, receive, send)
        finally:
            self._n_inflight -= 1
            self._metrics.in_flight.set(self._n_inflight)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count route, status and seconds."""
        started = time.perf_counter()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._limit_size(scope, receive, send_and_note)
        finally:
            path = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(scope["method"], path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _limit_size(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body first, so that one that is too large reaches no route."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            if size > MAX_BODY_BYTES or (declared.isdigit() and int(declared) > MAX_BODY_BYTES):
                await _refuse_size(scope, receive, send)
                return
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            await _refuse_size(scope, receive, send)
            return
        body: list[Message] = [
            {"type": "http.request", "body": b"".join(chunks), "more_body": False}
        ]

        async def replay() -> Message:
            return body.pop() if body else await receive()

        await self._app(scope, replay, send)


async def _refuse_size(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(413, "Content too large", f"a body has at most {MAX_BODY_BYTES} bytes")
    await response(scope, receive, send)
