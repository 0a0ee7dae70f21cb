"""The variant that a visitor met before signing in, kept for the user."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TypeVar

import sqlalchemy as sa

from features.contracts.errors import Unavailable
from features.database import reading
from features.facts.exposures import Exposure, find_first_variant, find_joined_variant

Value = TypeVar("Value")
_CAPACITY = 50_000
# For so long a user who was never a visitor is not looked up again: another process may have seen
# them sign in since.
_KNOWN_SECONDS = 60.0
# A unit that met nothing is looked up again after this time: exposures are written behind answers.
_MISSED_SECONDS = 2.0


class MetVariants:
    """The first variants of units: recent ones in memory, since exposures are written behind the
    answers, all others in the database. Safe to share between threads."""

    def __init__(self, engine: sa.Engine, *, capacity: int = _CAPACITY) -> None:
        self._engine = engine
        self._capacity = capacity
        self._lock = threading.Lock()
        self._recent: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._joined: OrderedDict[tuple[str, str], str] = OrderedDict()  # of those once visitors
        self._never_joined: OrderedDict[tuple[str, str], float] = OrderedDict()  # when looked up
        self._never_met: OrderedDict[tuple[str, str], float] = OrderedDict()

    def remember(self, exposure: Exposure) -> None:
        """Keep the variant in memory, unless the unit met one before."""
        key = (exposure.experiment, exposure.unit_id)
        with self._lock:
            self._keep(self._recent, key, exposure.variant)
            self._never_met.pop(key, None)
            if exposure.visitor_id is not None:
                self._keep(self._joined, key, self._recent[key])
                self._never_joined.pop(key, None)

    def _keep(
        self, values: OrderedDict[tuple[str, str], Value], key: tuple[str, str], new: Value
    ) -> None:
        values.setdefault(key, new)
        values.move_to_end(key)
        if len(values) > self._capacity:
            values.popitem(last=False)

    def find(self, experiment: str, user_id: str, visitor_id: str | None) -> str | None:
        """Return the variant that the user met first, else the one that the visitor met first.

        Of a user alone, the variant met first where a visitor became this user before. None where
        there is none. Where the database does not answer, only recent ones count.
        """
        if visitor_id is None:
            return self._find_joined(experiment, user_id)
        of_visitor = self._find_recent(experiment, visitor_id)
        try:
            of_user = self._look_up(experiment, user_id)
            return of_user or of_visitor or self._look_up(experiment, visitor_id)
        except (sa.exc.SQLAlchemyError, Unavailable):
            return of_visitor

    def find_of_visitor(self, experiment: str, user_id: str, visitor_id: str) -> str | None:
        """Return `find`, but None where the visitor met no variant."""
        if self._find_recent(experiment, visitor_id) is None:
            try:
                with reading(self._engine) as connection:
                    if find_first_variant(connection, experiment, visitor_id) is None:
                        return None
            except (sa.exc.SQLAlchemyError, Unavailable):
                return None
        return self.find(experiment, user_id, visitor_id)

    def find_own(self, experiment: str, unit_id: str) -> str | None:
        """Return the variant that a unit met first; None where there is none. Where the database
        does not answer, only recent ones count."""
        try:
            return self._look_up(experiment, unit_id)
        except (sa.exc.SQLAlchemyError, Unavailable):
            return None

    def _look_up(self, experiment: str, unit_id: str) -> str | None:
        """Return the variant that a unit met first, from memory where it is there; that there is
        none is known for _MISSED_SECONDS."""
        recent = self._find_recent(experiment, unit_id)
        if recent is not None:
            return recent
        key, now = (experiment, unit_id), time.monotonic()
        with self._lock:
            looked_up_at = self._never_met.get(key)
        if looked_up_at is not None and now < looked_up_at + _MISSED_SECONDS:
            return None
        with reading(self._engine) as connection:
            variant = find_first_variant(connection, experiment, unit_id)
        with self._lock:
            if variant is not None:
                self._keep(self._recent, key, variant)
            else:
                self._never_met.pop(key, None)
                self._keep(self._never_met, key, now)
        return variant

    def _find_joined(self, experiment: str, user_id: str) -> str | None:
        key = (experiment, user_id)
        now = time.monotonic()
        with self._lock:
            variant = self._joined.get(key)
            looked_up_at = self._never_joined.get(key)
        if variant is not None:
            return variant
        if looked_up_at is not None and now < looked_up_at + _KNOWN_SECONDS:
            return None
        try:
            with reading(self._engine) as connection:
                variant = find_joined_variant(connection, experiment, user_id)
        except (sa.exc.SQLAlchemyError, Unavailable):
            return None
        with self._lock:
            if variant is not None:
                self._keep(self._joined, key, variant)
            elif key not in self._joined:
                self._never_joined.pop(key, None)
                self._keep(self._never_joined, key, now)
        return variant

    def _find_recent(self, experiment: str, unit_id: str) -> str | None:
        with self._lock:
            return self._recent.get((experiment, unit_id))
