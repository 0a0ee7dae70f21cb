"""What stands before every request: the limit on its size, the limit on how many are in flight, and
the counting."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.errors import problem
from serving.http.metrics import Metrics

MAX_BODY_BYTES = 4 * 1024 * 1024
_ALWAYS_ANSWERED = ("/healthz", "/readyz", "/metrics")


class Limits:
    """ASGI middleware. Requests beyond `max_inflight` get 503 at once instead of a place in a
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
            await self._counted(scope, receive, send)
        finally:
            self._n_inflight -= 1
            self._metrics.in_flight.set(self._n_inflight)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._limited(scope, receive, noting)
        finally:
            route: Any = scope.get("route")
            path = getattr(route, "path", "none")
            self._metrics.requests.labels(scope["method"], path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body first, so that one that is too large reaches nobody."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            if size > MAX_BODY_BYTES or (declared.isdigit() and int(declared) > MAX_BODY_BYTES):
                too_large = problem(
                    413, "Content too large", f"a body has at most {MAX_BODY_BYTES} bytes"
                )
                await too_large(scope, receive, send)
                return
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            too_large = problem(
                413, "Content too large", f"a body has at most {MAX_BODY_BYTES} bytes"
            )
            await too_large(scope, receive, send)
            return
        body: list[Message] = [
            {"type": "http.request", "body": b"".join(chunks), "more_body": False}
        ]

        async def replay() -> Message:
            return body.pop() if body else await receive()

        await self._app(scope, replay, send)
