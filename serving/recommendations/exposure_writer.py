"""Writes exposures and impressions after the answers: a bounded queue, written in batches by a
thread."""

from __future__ import annotations

import queue
import threading

import sqlalchemy as sa

from features.contracts.errors import Unavailable
from features.database import transaction
from features.facts import exposures, impressions
from features.facts.exposures import Exposure
from features.facts.impressions import Impression
from serving.conditions import Conditions

_PART = "writing of exposures"
_BATCH = 500
_WAIT_SECONDS = 0.5
_RETRY_SECONDS = 1.0


class ExposureWriter:
    """`add` never waits: when the queue is full, the row is dropped and counted in `dropped`."""

    def __init__(
        self, engine: sa.Engine, conditions: Conditions | None = None, *, capacity: int = 20_000
    ) -> None:
        self._engine = engine
        self._conditions = conditions or Conditions()
        self._queue: queue.Queue[Exposure | Impression] = queue.Queue(capacity)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
        self.dropped = 0
        self.written = 0

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def add(self, row: Exposure | Impression) -> None:
        """Queue a row."""
        try:
            self._queue.put_nowait(row)
        except queue.Full:
            self.dropped += 1

    @property
    def waiting(self) -> int:
        """How many rows are queued."""
        return self._queue.qsize()

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not (self._stopping.is_set() and self._queue.empty()):
            if batch := self._take_batch():
                self._write(batch)

    def _take_batch(self) -> list[Exposure | Impression]:
        """Return the rows of about half a second, at most _BATCH."""
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
        """Try until the batch is written; while stopping, try once."""
        exposure_rows = [row for row in batch if isinstance(row, Exposure)]
        impression_rows = [row for row in batch if isinstance(row, Impression)]
        while True:
            last = self._stopping.is_set()
            try:
                with transaction(self._engine) as connection:
                    exposures.append(connection, exposure_rows)
                    impressions.append(connection, impression_rows)
            except (sa.exc.SQLAlchemyError, Unavailable) as error:
                self._conditions.report(_PART, str(error))
                if last:
                    self.dropped += len(batch)
                    return
                self._stopping.wait(_RETRY_SECONDS)
            else:
                self._conditions.clear(_PART)
                self.written += len(batch)
                return
