"""Middleware before every request: its key, its size, its time, and the requests in flight.

The order matters. A request without a key or a session is refused before its body is read, and a
request gets one of the places in flight only after its whole body has come. So nobody takes a place
without a key, or by sending slowly; those who sign in are limited by the passwords that are
compared at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.contracts.errors import ShopwrightError
from serving.http.auth import OPEN_ROUTES, identify
from serving.http.errors import answer_shopwright_error, problem
from serving.http.metrics import Metrics

MAX_BODY_BYTES = 4 * 1024 * 1024
# Of a request that needs no key: a name and a password.
MAX_OPEN_BODY_BYTES = 16 * 1024
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
# The bodies of all requests that are being sent, together.
_MAX_BUFFERED_BYTES = 256 * 1024 * 1024
_ALWAYS_ANSWERED = ("/healthz", "/readyz", "/metrics")
# Every address below it needs a key.
_WITH_KEY = "/v1/"


class _SlowSender(Exception):
    """A body did not come in time."""


class _SlowReader(Exception):
    """An answer was not taken in time."""


class Limits:
    """ASGI middleware. Requests beyond `max_inflight` get 503 at once and do not wait in a queue.

    A body may take `request_seconds` to come, and an answer as long to be taken.
    """

    def __init__(
        self, app: ASGIApp, *, max_inflight: int, request_seconds: float, metrics: Metrics
    ) -> None:
        self._app = app
        self._max_inflight = max_inflight
        self._request_seconds = request_seconds
        self._metrics = metrics
        self._n_inflight = 0
        self._n_buffered_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            try:
                async with asyncio.timeout(self._request_seconds):
                    await send(message)
            except TimeoutError:
                raise _SlowReader from None

        try:
            await self._check_and_answer(scope, receive, send_and_note)
        except _SlowReader:  # uvicorn closes the connection of an answer that was not finished
            pass
        finally:
            path = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(scope["method"], path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _check_and_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        needs_key = scope["path"].startswith(_WITH_KEY)
        if not needs_key and scope["method"] in _WITHOUT_BODY:
            await self._answer_in_place(scope, receive, send)
            return
        max_bytes = MAX_OPEN_BODY_BYTES
        if needs_key and (scope["method"], scope["path"]) not in OPEN_ROUTES:
            max_bytes = MAX_BODY_BYTES
            try:
                await identify(Request(scope))
            except ShopwrightError as error:
                await answer_shopwright_error(error)(scope, receive, send)
                return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > max_bytes:
            await refuse_size(max_bytes, scope, receive, send)
            return
        body = bytearray()
        try:
            if not await self._read_body(receive, body, max_bytes):
                return
            if len(body) > max_bytes:
                await refuse_size(max_bytes, scope, receive, send)
            else:
                await self._answer_in_place(scope, replay_body(bytes(body), receive), send)
        except _SlowSender:
            detail = f"the body did not come within {self._request_seconds:g} s"
            late = problem(408, "Request timeout", detail, headers={"Connection": "close"})
            await late(scope, receive, send)
        finally:
            self._n_buffered_bytes -= len(body)

    async def _read_body(self, receive: Receive, body: bytearray, max_bytes: int) -> bool:
        """Append what comes to `body`, at most a little more than `max_bytes`; return whether
        the caller is still there."""
        try:
            async with asyncio.timeout(self._request_seconds):
                async for chunk in read_chunks(receive, max_bytes):
                    body += chunk
                    self._n_buffered_bytes += len(chunk)
        except ClientDisconnect:
            return False
        except TimeoutError:
            raise _SlowSender from None
        return True

    async def _answer_in_place(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer while there is a place for one more request in flight; else refuse."""
        crowded = self._n_buffered_bytes > _MAX_BUFFERED_BYTES
        if self._n_inflight >= self._max_inflight or crowded:
            self._metrics.shed.inc()
            busy = problem(503, "Unavailable", "the server is busy", headers={"Retry-After": "1"})
            await busy(scope, receive, send)
            return
        self._n_inflight += 1
        self._metrics.in_flight.set(self._n_inflight)
        try:
            await self._app(scope, receive, send)
        finally:
            self._n_inflight -= 1
            self._metrics.in_flight.set(self._n_inflight)


async def read_chunks(receive: Receive, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield a body as it comes, at most one chunk beyond `max_bytes`.

    Raises ClientDisconnect where the caller leaves.
    """
    n_bytes, more = 0, True
    while more and n_bytes <= max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        n_bytes += len(chunk)
        more = message.get("more_body", False)
        yield chunk


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields the whole body first."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def refuse_size(max_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that a body is too large."""
    detail = f"a body has at most {max_bytes} bytes"
    await problem(413, "Content too large", detail)(scope, receive, send)
