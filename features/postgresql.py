"""Connections to PostgreSQL that do not wait for ever.

A server may accept connections and never answer: its host lost power, a firewall drops packets, a
proxy hangs. Limits that the server enforces itself do not help then, so the client has its own.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

# Parameters of libpq: seconds to connect, and TCP's own limits for a peer that is gone.
NETWORK_LIMITS = {
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_POLL_SECONDS = 0.1

Result = TypeVar("Result")


class TimedConnection(psycopg.Connection[Any]):
    """A connection that is closed when one answer takes longer than `answer_seconds`."""

    answer_seconds: float | None = None

    def wait(
        self,
        gen: PQGen[Result],
        interval: float = _POLL_SECONDS,
        timeout: float | None = None,
    ) -> Result:
        """Return the answer. Raises OperationalError when it does not come in time."""
        limit = self.answer_seconds if timeout is None else timeout
        started = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if limit is not None and time.monotonic() - started >= limit:
                # Half an answer may still come: the connection cannot be used again.
                self.pgconn.finish()
            raise


def set_server_limits(connection: psycopg.Connection[Any], lock_seconds: float) -> None:
    """Make the server end a statement that waits for a lock for longer than `lock_seconds`."""
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = {int(lock_seconds * 1000)}")
    connection.autocommit = False
