"""Writes exposures and impressions behind the answers: a bounded queue, emptied in batches, flushed
on drain."""

from __future__ import annotations

import logging
import queue
import threading

import sqlalchemy as sa

from features.database import transaction
from features.facts import exposures, impressions
from features.facts.exposures import Exposure
from features.facts.impressions import Impression

log = logging.getLogger(__name__)

_BATCH = 500
_WAIT_SECONDS = 0.5
_RETRY_SECONDS = 1.0


class ExposureWriter:
    """`add` never waits. When the queue is full a row is dropped and counted in `dropped`."""

    def __init__(self, engine: sa.Engine, capacity: int = 20_000) -> None:
        self._engine = engine
        self._queue: queue.Queue[Exposure | Impression] = queue.Queue(capacity)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
        self.dropped = 0
        self.written = 0

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def add(self, row: Exposure | Impression) -> None:
        """Queues a row."""
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self.dropped += 1

    @property
    def waiting(self) -> int:
        """How many rows are queued."""
        return self._queue.qsize()

    def close(self) -> None:
        """Writes what is queued and ends the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._queue.empty()):
            if batch := self._next():
                self._write(batch)

    def _next(self) -> list[Exposure | Impression]:
        """Rows of about half a second, at most one batch."""
        if not self._stopping.is_set():
            self._stopping.wait(_WAIT_SECONDS)
        batch: list[Exposure | Impression] = []
        while len(batch) < _BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[Exposure | Impression]) -> None:
        """Tries until it is written; on the way out once more and no longer."""
        while True:
            last = self._stopping.is_set()
            try:
                with transaction(self._engine) as connection:
                    exposures.append(
                        connection, [row for row in batch if isinstance(row, Exposure)]
                    )
                    impressions.append(
                        connection, [row for row in batch if isinstance(row, Impression)]
                    )
            except sa.exc.SQLAlchemyError as error:
                log.warning("exposures are not written: %s", error)
                if last:
                    self.dropped += len(batch)
                    return
                self._stopping.wait(_RETRY_SECONDS)
            else:
                self.written += len(batch)
                return
