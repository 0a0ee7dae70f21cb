"""The zones that rows may name: those of the settings and those of the price list.

Every zone has prices, features and forecasts of its own. Whoever could invent zones in events could
multiply the work of every night.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Lock

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.errors import Unavailable, UnknownName
from features.contracts.row_checks import ZoneRules
from features.contracts.tables import DEFAULT_ZONE
from features.database import reading
from features.prices.ledger import Ledger

# How often an unknown name makes a process look for new zones of the price list.
_REFRESH_SECONDS = 10.0


def build_zone_rules(settings: Settings, priced: Iterable[str]) -> ZoneRules:
    """Return the rules of a shop whose price list has the zones `priced`."""
    known = frozenset({DEFAULT_ZONE, *settings.zones, *priced})
    return ZoneRules(known, unknown_become_default=settings.unknown_zones == "default")


class KnownZones:
    """The zones that a server knows. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._lock = Lock()
        self._rules = build_zone_rules(settings, ())
        self._read_at: float | None = None

    def find_rules(self, names: Iterable[str]) -> ZoneRules:
        """Return the rules; the price list is read when a name is unknown, not too often."""
        if set(names) <= self._rules.known:
            return self._rules
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at >= _REFRESH_SECONDS:
                with reading(self._engine) as connection:
                    priced = Ledger(connection).list_zones()
                self._rules, self._read_at = build_zone_rules(self._settings, priced), now
        return self._rules

    def explain_unknown(self, zone: str) -> str | None:
        """Return that nobody knows a zone, with the nearest right name.

        None for a known one, and while the database does not answer.
        """
        try:
            known = self.find_rules([zone]).known
        except Unavailable:
            return None
        return None if zone in known else str(UnknownName(zone, known, kind="zone"))
