"""MLflow's client, whose calls end in bounded time where others wait for them.

MLflow itself waits without an end for a database that hangs, and repeats requests to a server that
does not answer for minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from features.contracts.errors import Unavailable

# A registry that did not answer is left alone for so long: each further try holds a thread.
REST_SECONDS = 15.0


@dataclass
class _Call:
    """One call in a thread of its own."""

    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: Exception | None = None


class TimedClient:
    """Calls the methods of a client in threads, and waits `answer_seconds` for each.

    open_client   returns the client; it may wait for the registry too
    address       names the registry in messages

    Each call raises Unavailable where no answer comes in time. A call that was sent may still be
    carried out later. Safe to share between threads.
    """

    def __init__(self, open_client: Callable[[], Any], answer_seconds: float, address: str) -> None:
        self._open = open_client
        self._answer_seconds = answer_seconds
        self._address = address
        self._client: Any = None
        self._opening = threading.Lock()
        self._silent_until = 0.0

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: object, **options: object) -> object:
            return self._call(lambda client: getattr(client, method)(*arguments, **options))

        return call

    def _call(self, use: Callable[[Any], object]) -> object:
        if time.monotonic() < self._silent_until:
            raise self._describe_silence()
        call = _Call()

        def run() -> None:
            try:
                call.result = use(self._open_once())
            except Exception as error:
                call.error = error
            call.done.set()

        threading.Thread(target=run, name="model registry", daemon=True).start()
        if not call.done.wait(self._answer_seconds):
            self._silent_until = time.monotonic() + REST_SECONDS
            raise self._describe_silence()
        self._silent_until = 0.0
        if call.error is not None:
            raise call.error
        return call.result

    def _open_once(self) -> Any:
        with self._opening:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _describe_silence(self) -> Unavailable:
        return Unavailable(
            f"the model registry does not answer within {self._answer_seconds:g} s",
            where=self._address,
            hint="What serves goes on. Is the server of MLFLOW_TRACKING_URI up? Look at "
            "`shopwright models list` before a promotion is tried again",
            retry_after_seconds=int(REST_SECONDS),
        )
