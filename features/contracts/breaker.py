"""A breaker: a part of the system that did not answer is left alone for a moment.

Without it every request would wait for a part that hangs, until all threads wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from features.contracts.errors import Unavailable

PAUSE_SECONDS = 2.0


class Breaker:
    """Refuses calls to `part` for `pause_seconds` after a failure. Safe to share between threads.

    After the pause one call at a time may try again; the first that succeeds ends the refusals.
    """

    def __init__(self, part: str, hint: str, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.part = part
        self._hint = hint
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the part is left alone; None while it answers."""
        return self._problem

    @property
    def is_open(self) -> bool:
        """Whether a call would be refused now."""
        return self._problem is not None and time.monotonic() < self._retry_at

    def enter(self) -> None:
        """Raise Unavailable where the part failed a moment ago; else the call may begin, and must
        end with `fail` or `succeed`."""
        if self._problem is None:
            return
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise self.unavailable()
            # This caller tries; the others are refused until it is back.
            self._retry_at = time.monotonic() + self._pause_seconds

    def fail(self, error: Exception) -> None:
        """Leave the part alone from now on."""
        with self._lock:
            self._problem = f"does not answer: {type(error).__name__}"
            self._retry_at = time.monotonic() + self._pause_seconds

    def succeed(self) -> None:
        """Let every call through again."""
        self._problem = None

    def unavailable(self) -> Unavailable:
        """Return the error of a call that is refused."""
        return Unavailable(f"{self.part} does not answer", where=self.part, hint=self._hint)

    @contextmanager
    def guard(self, *failures: type[Exception]) -> Iterator[None]:
        """Run one call: `failures` open the breaker and are raised as Unavailable."""
        self.enter()
        try:
            yield
        except failures as error:
            self.fail(error)
            raise self.unavailable() from error
        self.succeed()
