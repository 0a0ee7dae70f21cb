"""Connections of the server that have a time limit: for the headers of a request, for its body, and
while nothing is sent.

uvicorn itself limits only the time between two requests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

# Between the end of a body that came too late and the end of its connection, for the answer 408.
_GRACE_SECONDS = 1.0


# The name of the limit in the state of the application.
REQUEST_SECONDS = "request_seconds"


class TimedProtocol(HttpToolsProtocol):
    """A connection that is closed when a request does not come in the time that the application
    states as REQUEST_SECONDS.

    It counts from the beginning of the request (that of the connection for the first one) to the
    end of its headers, and again to the end of its body.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._request_seconds: float = app_state[REQUEST_SECONDS]
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer(self._request_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer(self._request_seconds)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._start_timer(self._request_seconds + _GRACE_SECONDS)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        # A caller that does not read its answers would keep a connection that is only closed.
        self.transport.abort()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
