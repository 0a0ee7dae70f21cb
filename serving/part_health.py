"""Which parts of a shop are up, slow or down, as one process sees them, and since when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from features.contracts.errors import ShopwrightError
from features.contracts.manifest import stamp_manifest
from models.registry import NAMES
from serving.conditions import Fault
from serving.server import CLOCK, ONLINE_STORE, Server

State = Literal["up", "slow", "down", "unused"]
DATABASE, FEATURES, EVENTS, IMPORT = "database", "features", "events", "import"
# An answer that takes longer is felt by whoever waits for it.
_SLOW_SECONDS = 0.25
# Features older than that miss a night; data older than that train no model.
_FEATURES_OLD, _IMPORT_OLD = timedelta(hours=36), timedelta(days=7)
# The part that each step of `Server.refresh` reports as a condition.
_STEPS = {"the database": DATABASE, "online features": ONLINE_STORE}


@dataclass(frozen=True)
class PartHealth:
    """One part.

    since     when this process first saw it in this state, or began; system time
    reason    why it is slow or down
    seconds   how long it took to answer
    at        of features: as of when, business time; of events and imports: the last one
    version   of a model: the one that answers
    count     of events: how many wait in the database
    """

    part: str
    state: State
    since: datetime | None = None
    reason: str | None = None
    seconds: float | None = None
    at: datetime | None = None
    version: str | None = None
    count: int | None = None


class HealthService:
    """Looks at each part of a server. Safe to share between threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._opened_at = server.system_clock.now()
        self._lock = threading.Lock()
        self._states: dict[str, tuple[State, datetime]] = {}

    def inspect(self) -> list[PartHealth]:
        """Return every part; a part that fails is down, and hides no other."""
        faults = self._server.conditions.faults
        parts = [
            self._inspect_database(faults),
            self._inspect_online_store(faults),
            *self._inspect_models(),
            self._inspect_features(),
            self._inspect_clock(),
            self._inspect_events(),
            self._inspect_import(),
        ]
        known = {*_STEPS, *NAMES, FEATURES}
        parts += [
            PartHealth(name, "down", since=fault.since, reason=fault.reason)
            for name, fault in sorted(faults.items())
            if name not in known
        ]
        return [self._date(part) for part in parts]

    def _date(self, part: PartHealth) -> PartHealth:
        """Return the part with the time since which it is in its state."""
        if part.since is not None:
            return part
        with self._lock:
            known = self._states.get(part.part)
            if known is not None and known[0] == part.state:
                since = known[1]
            else:
                since = self._opened_at if known is None else self._server.system_clock.now()
                self._states[part.part] = part.state, since
        return PartHealth(**{**vars(part), "since": since})

    def _inspect_database(self, faults: Mapping[str, Fault]) -> PartHealth:
        fault = faults.get("the database")
        if fault is not None:
            return PartHealth(DATABASE, "down", since=fault.since, reason=fault.reason)
        return _measure(DATABASE, self._server.ping_database)

    def _inspect_online_store(self, faults: Mapping[str, Fault]) -> PartHealth:
        histories, fault = self._server.histories, faults.get("online features")
        if histories.as_of is None:
            return PartHealth(ONLINE_STORE, "unused")
        if fault is not None:
            return PartHealth(ONLINE_STORE, "down", since=fault.since, reason=fault.reason)
        if histories.problem is not None:
            state: State = "slow" if histories.is_older_served else "down"
            return PartHealth(ONLINE_STORE, state, reason=histories.problem)
        return _measure(ONLINE_STORE, histories.warm)

    def _inspect_models(self) -> list[PartHealth]:
        models = self._server.served_models
        versions, missing, degraded = models.versions, models.missing, models.degraded
        faults = self._server.conditions.faults
        parts = []
        for name in NAMES:
            version = versions[name].version if name in versions else None
            fault = faults.get(name)
            since = None if fault is None else fault.since
            reason = degraded.get(name) or missing.get(name)
            if version is not None:
                state: State = "up" if reason is None else "slow"
            else:
                state = "unused" if reason is None else "down"
            parts.append(PartHealth(name, state, since=since, reason=reason, version=version))
        return parts

    def _inspect_features(self) -> PartHealth:
        server = self._server
        as_of = server.histories.as_of
        reason = server.served_models.degraded.get(FEATURES)
        if as_of is None:
            return PartHealth(FEATURES, "unused")
        if reason is not None:
            return PartHealth(FEATURES, "down", reason=reason, at=as_of)
        is_old = server.clock.now() - as_of > _FEATURES_OLD
        return PartHealth(FEATURES, "slow" if is_old else "up", at=as_of)

    def _inspect_clock(self) -> PartHealth:
        reason = self._server.readiness.degraded().get(CLOCK)
        now = self._server.clock.now()
        return PartHealth(CLOCK, "up" if reason is None else "down", reason=reason, at=now)

    def _inspect_events(self) -> PartHealth:
        """Return how many events wait, or why that is not known; answers of slates use them all."""
        try:
            count, latest = self._server.events.summarize_received()
        except (ShopwrightError, sa.exc.SQLAlchemyError) as error:
            return PartHealth(EVENTS, "down", reason=_describe(error))
        return PartHealth(EVENTS, "up" if count else "unused", at=latest, count=count)

    def _inspect_import(self) -> PartHealth:
        nanoseconds, _ = stamp_manifest(self._server.settings.home / "tables")
        if not nanoseconds:
            return PartHealth(IMPORT, "unused")
        at = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
        is_old = self._server.system_clock.now() - at > _IMPORT_OLD
        return PartHealth(IMPORT, "slow" if is_old else "up", at=at)


def _measure(part: str, call: Callable[[], None]) -> PartHealth:
    """Return whether a part answers, and how fast."""
    began = time.perf_counter()
    try:
        call()
    except Exception as error:  # whatever it raises, it does not answer
        return PartHealth(part, "down", reason=_describe(error))
    seconds = time.perf_counter() - began
    return PartHealth(part, "slow" if seconds > _SLOW_SECONDS else "up", seconds=seconds)


def _describe(error: Exception) -> str:
    if isinstance(error, ShopwrightError):
        return str(error)
    return f"{type(error).__name__}: {error}".partition("\n")[0]
