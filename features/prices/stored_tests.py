"""Price tests as they are stored: state, dates and a JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.errors import NotFound
from features.contracts.pricing import PriceTestDesign
from features.database_tables import price_tests

# Of a plan that nobody has kept: computed now, to be looked at, or without a result.
PLANNING, DRAFT, FAILED = "planning", "draft", "failed"
PLANNED, FILED, RUNNING = "planned", "filed", "running"
FINISHED, CANCELLED = "finished", "cancelled"
# Values of a document as they come out of the database.
Json = Mapping[str, Any]
KEPT = (PLANNED, FILED, RUNNING, FINISHED, CANCELLED)
# The other reason to hold a price that a test must know.
PROMOTION_RUNNING = "a promotion is running"
_HOLD = "in the price test"
_FIELDS = ("test_id", "zone", "state", "begins_at", "ends_at", "document", "updated_at")
PLANS_LOCK = "price_test_plans"  # held by whoever changes plans that nobody has kept
OPEN = (PLANNED, FILED, RUNNING)
_PLANS_KEPT = 20  # the newest plans that nobody has kept


@dataclass(frozen=True)
class StoredTest:
    """One price test.

    zone   the first of its zones
    begins_at, ends_at   business time; None while it is only planned
    document   "test": units and prices; "plan": expected value and cost; "batches": what was filed,
               period by period; "result" once it is finished. A plan that nobody has kept has the
               "order" that it was computed for, and "problem" where that failed; "test" is None
               where no test is advised
    updated_at   business time of the last change
    """

    test_id: str
    zone: str
    state: str
    begins_at: datetime | None
    ends_at: datetime | None
    document: Json
    updated_at: datetime | None = None

    @property
    def is_kept(self) -> bool:
        """Whether somebody keeps the plan, so that its prices can be filed."""
        return self.state in KEPT

    @property
    def design(self) -> PriceTestDesign:
        """The design of the test or of the plan; older ones are crossovers."""
        about = self.document.get("test") or self.document.get("order") or {}
        return PriceTestDesign(about.get("design", PriceTestDesign.CROSSOVER))

    @property
    def keeps_prices(self) -> bool:
        """Whether its last prices stay after the end, as those of a roll-out do."""
        return self.design is PriceTestDesign.ROLLOUT

    def find_key(self, row: Json) -> tuple[str, str]:
        """Return the item and the zone of a row of its result; older ones name no zone."""
        return row["item_id"], row.get("zone", self.zone)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones of its items; of a plan without a test those that it was computed for."""
        test, order = self.document.get("test"), self.document.get("order") or {}
        if test is None:
            return tuple(order.get("zones", (self.zone,)))
        return tuple(sorted({p["zone"] for unit in test["units"] for p in unit["prices"]}))

    def add(self, **values: object) -> StoredTest:
        """Return the test with more values in its document."""
        return replace(self, document={**self.document, **values})


@dataclass(frozen=True)
class PriceTestFilter:
    """Conditions that a test meets all of.

    zone    one of its zones
    state   as time has given it: a filed test that has begun is running. Without one, the plans
            that nobody has kept are left out
    """

    zone: str | None = None
    state: str | None = None

    def build_conditions(self, now: datetime) -> list[sa.ColumnElement[bool]]:
        """Return the conditions in SQL, but for the zone."""
        table = price_tests.c
        conditions: list[sa.ColumnElement[bool]] = []
        has_begun = sa.and_(table.begins_at.is_not(None), table.begins_at <= now)
        if self.state is None:
            conditions.append(table.state.in_(KEPT))
        elif self.state == FILED:
            conditions += [table.state == FILED, sa.not_(has_begun)]
        elif self.state == RUNNING:
            conditions += [table.state.in_((FILED, RUNNING)), has_begun]
        else:
            conditions.append(table.state == self.state)
        return conditions


class PriceTests:
    """Reads and writes price tests in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def list(self, state: str | None = None) -> list[StoredTest]:
        """Return all tests and plans, or those with a stored state, the newest change first."""
        query = _select_newest_first()
        if state is not None:
            query = query.where(price_tests.c.state == state)
        return [_read(row) for row in self._connection.execute(query).mappings()]

    def read_page(
        self, criteria: PriceTestFilter, now: datetime, *, offset: int, limit: int
    ) -> Sequence[StoredTest]:
        """Return the tests of a filter from position `offset` on, the newest change first."""
        query = _select_newest_first().where(*criteria.build_conditions(now))
        if criteria.zone is None:
            query = query.offset(offset).limit(limit)
            return [_read(row) for row in self._connection.execute(query).mappings()]
        # The zones of a test are in its document; a shop has few tests, each takes weeks.
        tests = self._read_of_zone(query, criteria.zone)
        return tests[offset : offset + limit]

    def list_ended(self, now: datetime) -> Sequence[StoredTest]:
        """Return the tests that are cancelled or over, the newest change first."""
        is_over = sa.and_(price_tests.c.state.in_(KEPT), price_tests.c.ends_at <= now)
        query = _select_newest_first().where(sa.or_(price_tests.c.state == CANCELLED, is_over))
        return [_read(row) for row in self._connection.execute(query).mappings()]

    def count(self, state: str) -> int:
        """Return how many tests are stored in a state."""
        query = sa.select(sa.func.count()).where(price_tests.c.state == state)
        return int(self._connection.execute(query).scalar_one())

    def remove_old_plans(self) -> None:
        """Remove the oldest plans that nobody has kept, but for those that are being computed."""
        query = sa.select(price_tests.c.test_id).where(price_tests.c.state.in_((DRAFT, FAILED)))
        newest_first = query.order_by(price_tests.c.updated_at.desc(), price_tests.c.test_id)
        ids = list(self._connection.execute(newest_first).scalars())[_PLANS_KEPT:]
        if ids:
            self._connection.execute(sa.delete(price_tests).where(price_tests.c.test_id.in_(ids)))

    def list_open(self, zone: str) -> Sequence[StoredTest]:
        """Return the tests of a zone that are kept and not ended, the newest change first."""
        query = _select_newest_first().where(price_tests.c.state.in_(OPEN))
        return self._read_of_zone(query, zone)

    def get(self, test_id: str) -> StoredTest:
        """Return one test. Raises NotFound where there is none."""
        query = sa.select(price_tests).where(price_tests.c.test_id == test_id)
        row = self._connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"no price test is called {test_id!r}",
                hint="See: GET /v1/price-tests, or shopwright prices tests --list",
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
            for test in self.list_open(zone)
            if test.state in (FILED, RUNNING) and (test.ends_at is None or test.ends_at > now)
            for unit in test.document["test"]["units"]
            for prices in unit["prices"]
            if prices["zone"] == zone
        }

    def _read_of_zone(
        self, query: sa.Select[tuple[object, ...]], zone: str
    ) -> Sequence[StoredTest]:
        tests = [_read(row) for row in self._connection.execute(query).mappings()]
        return [test for test in tests if zone in test.zones]


def describe_hold(test_id: str) -> str:
    """Return why nothing else moves the price of an item under test.

    >>> describe_hold("test_1")
    'in the price test test_1'
    """
    return f"{_HOLD} {test_id}"


def _select_newest_first() -> sa.Select[tuple[object, ...]]:
    return sa.select(price_tests).order_by(price_tests.c.updated_at.desc(), price_tests.c.test_id)


def _read(row: sa.RowMapping) -> StoredTest:
    return StoredTest(**{name: row[name] for name in _FIELDS})
