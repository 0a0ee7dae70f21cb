"""Writes exposures and slates after the answers: a bounded queue, written in batches by a thread,
which deletes old slates as well."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from features.contracts.clock import Clock, ClockWatch
from features.contracts.errors import Unavailable
from features.contracts.person_ids import ID_KINDS
from features.database import transaction
from features.facts import exposures, slates
from features.facts.erased_ids import (
    Erasures,
    IdDigests,
    find_erasures,
)
from features.facts.exposures import Exposure
from features.facts.slates import LoggedSlate
from serving.conditions import Conditions

_PART, _DELETING = "writing of exposures", "deleting of old slates"
_CAPACITY = 20_000
_BATCH = 1_000
# With the time of one write, what a process that is killed may lose: less than a second.
_WAIT_SECONDS = 0.25
_RETRY_SECONDS = 1.0
# Old slates are deleted in steps between the batches, until the next look at them.
_OLD_SLATES = 200
_REST_SECONDS = 60.0


class ExposureWriter:
    """`add` never waits: when the queue is full, the row is dropped and counted in `dropped`.

    clock       business time, by which slates are old
    keep_days   days after which slates are deleted
    list_undecided   returns the experiments whose slates are kept longer
    clock_watch   while the clock of the machine has jumped, nothing is deleted
    digests     by which units are recognised that were erased while their rows waited
    """

    def __init__(
        self,
        engine: sa.Engine,
        clock: Clock,
        conditions: Conditions | None = None,
        *,
        keep_days: int,
        list_undecided: Callable[[], Collection[str]] = tuple,
        clock_watch: ClockWatch | None = None,
        digests: IdDigests | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._conditions = conditions or Conditions()
        self._keep = timedelta(days=keep_days)
        self._clock_watch = clock_watch or ClockWatch()
        self._digests = digests
        self._queue: queue.Queue[Exposure | LoggedSlate] = queue.Queue(_CAPACITY)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
        self._next_look = 0.0
        self._list_undecided = list_undecided
        self.dropped = 0
        self.written = 0

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def add(self, row: Exposure | LoggedSlate) -> None:
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
            if time.monotonic() >= self._next_look and not self._stopping.is_set():
                self._delete_old()

    def _take_batch(self) -> list[Exposure | LoggedSlate]:
        """Return the rows of about a quarter of a second, at most _BATCH."""
        if self._queue.qsize() < _BATCH:
            self._stopping.wait(_WAIT_SECONDS)
        batch: list[Exposure | LoggedSlate] = []
        while len(batch) < _BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[Exposure | LoggedSlate]) -> None:
        """Try until the batch is written; while stopping, try once."""
        exposure_rows = [row for row in batch if isinstance(row, Exposure)]
        slate_rows = [row for row in batch if isinstance(row, LoggedSlate)]
        while True:
            last = self._stopping.is_set()
            try:
                with transaction(self._engine) as connection:
                    erased = self._find_erasures(connection, batch)
                    exposures.append(
                        connection,
                        [
                            row
                            for row in exposure_rows
                            if not _is_erased(row, row.exposed_at, erased)
                        ],
                    )
                    slates.append(
                        connection,
                        [
                            replace(row, unit_id=None)
                            if _is_erased(row, row.shown_at, erased)
                            else row
                            for row in slate_rows
                        ],
                    )
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

    def _find_erasures(
        self, connection: sa.Connection, batch: list[Exposure | LoggedSlate]
    ) -> Erasures | None:
        """Return what of the units of the rows is erased; None where nothing is."""
        if self._digests is None:
            return None
        units = {row.unit_id for row in batch if row.unit_id is not None}
        return find_erasures(connection, self._digests, units)

    def _delete_old(self) -> None:
        """Delete some of the slates that are too old; rest where there are no more."""
        n_deleted = 0
        if self._clock_watch.find_jump() is not None:
            self._next_look = time.monotonic() + _REST_SECONDS
            return
        try:
            with transaction(self._engine) as connection:
                before = self._clock.now() - self._keep
                n_deleted = slates.delete_old(
                    connection, before, limit=_OLD_SLATES, keep=self._list_undecided()
                )
        except (sa.exc.SQLAlchemyError, Unavailable) as error:
            self._conditions.report(_DELETING, str(error))
        else:
            self._conditions.clear(_DELETING)
        if n_deleted < _OLD_SLATES:
            self._next_look = time.monotonic() + _REST_SECONDS


def _is_erased(
    row: Exposure | LoggedSlate, answered_at: datetime, erasures: Erasures | None
) -> bool:
    """Return whether the unit of a row was erased, as a user or, since the answer, as a visitor or
    session."""
    if erasures is None or row.unit_id is None:
        return False
    return any(erasures.cover(kind, row.unit_id, answered_at) for kind in ID_KINDS)
