"""Price tests as they are stored: state, dates and a JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.errors import NotFound
from features.database_tables import price_tests

PLANNED, FILED, RUNNING = "planned", "filed", "running"
FINISHED, CANCELLED = "finished", "cancelled"
# The other reason to hold a price that a test must know.
PROMOTION_RUNNING = "a promotion is running"
_HOLD = "in the price test"
_FIELDS = ("test_id", "zone", "state", "begins_at", "ends_at", "document")


@dataclass(frozen=True)
class StoredTest:
    """One price test.

    begins_at, ends_at   business time; None while it is only planned
    document   "test": units and prices; "plan": expected value and cost; "batches": what was filed,
               period by period; "result" once it is finished
    """

    test_id: str
    zone: str
    state: str
    begins_at: datetime | None
    ends_at: datetime | None
    document: Mapping[str, Any]

    def add(self, **values: object) -> StoredTest:
        """Return the test with more values in its document."""
        return replace(self, document={**self.document, **values})


class PriceTests:
    """Reads and writes price tests in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def list(self, zone: str | None = None) -> list[StoredTest]:
        """Return all tests, or those of a zone, the newest change first."""
        query = sa.select(price_tests).order_by(
            price_tests.c.updated_at.desc(), price_tests.c.test_id
        )
        if zone is not None:
            query = query.where(price_tests.c.zone == zone)
        return [_read(row) for row in self._connection.execute(query).mappings()]

    def get(self, test_id: str) -> StoredTest:
        """Return one test. Raises NotFound where there is none."""
        query = sa.select(price_tests).where(price_tests.c.test_id == test_id)
        row = self._connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"no price test is called {test_id!r}", hint="Try: shopwright prices tests --list"
            )
        return _read(row)

    def put(self, test: StoredTest, at: datetime) -> None:
        """Store a test, in place of its earlier state."""
        values = {
            "zone": test.zone,
            "state": test.state,
            "begins_at": test.begins_at,
            "ends_at": test.ends_at,
            "document": dict(test.document),
            "updated_at": at,
        }
        changed = self._connection.execute(
            sa.update(price_tests).where(price_tests.c.test_id == test.test_id).values(values)
        )
        if not changed.rowcount:
            self._connection.execute(sa.insert(price_tests).values(test_id=test.test_id, **values))

    def find_tested_items(self, zone: str, now: datetime) -> dict[str, str]:
        """Return the test of each item of a zone that is filed or running, until the test ends."""
        return {
            prices["item_id"]: test.test_id
            for test in self.list(zone)
            if test.state in (FILED, RUNNING) and (test.ends_at is None or test.ends_at > now)
            for unit in test.document["test"]["units"]
            for prices in unit["prices"]
        }


def describe_hold(test_id: str) -> str:
    """Return why nothing else moves the price of an item under test.

    >>> describe_hold("test_1")
    'in the price test test_1'
    """
    return f"{_HOLD} {test_id}"


def _read(row: sa.RowMapping) -> StoredTest:
    return StoredTest(**{name: row[name] for name in _FIELDS})
