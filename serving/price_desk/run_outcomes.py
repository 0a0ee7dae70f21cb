"""Runs of suggestions as rows, with the outcome of each of their items.

The items of the newest runs of a zone are kept, the totals of many more: see KEPT_RUNS and
KEPT_ITEM_RUNS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serving.database.desk_tables import pricing_run_items, pricing_runs

# Runs of a zone whose totals are kept, and those of them whose items are kept.
KEPT_RUNS = 1_000
KEPT_ITEM_RUNS = 10
_Query = sa.Select[Any]
SUGGESTED, KEPT = "suggested", "kept"


@dataclass(frozen=True)
class RunItem:
    """What a run decided about an item; `reason` says why its price is kept.

    current_price_minor   None where the ledger has none
    """

    item_id: str
    outcome: str
    reason: str | None = None
    category: str = ""
    title: str | None = None
    current_price_minor: int | None = None
    suggested_price_minor: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run in one zone; `created_at` is business time, `recorded_at` system time.

    totals   numbers of items, and objective values in minor units (or units)
    """

    id: str
    zone: str
    currency: str
    objective: str
    horizon_weeks: int
    rules: str
    status: str
    created_at: datetime
    recorded_at: datetime
    totals: Mapping[str, float]
    kept: Mapping[str, int]
    held: Sequence[str] = ()
    broken_rules: Sequence[str] = ()
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PricingRun(NewRun):
    """A filed run; `seq` grows with each."""

    seq: int


@dataclass(frozen=True)
class RunItemFilter:
    """Conditions that an item of a run meets all of; empty ones are left out.

    category   matches the category and all below it
    """

    outcome: str | None = None
    reason: str | None = None
    category: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class RunDifference:
    """An item for which two runs came to different prices; a kept price has a reason."""

    item_id: str
    title: str | None
    category: str
    first: RunItem
    second: RunItem

    @property
    def prices_minor(self) -> tuple[int, int]:
        """The price of the item by the first run and by the second."""
        return _find_price(self.first), _find_price(self.second)


def _find_price(item: RunItem) -> int:
    """Return the price at which a run leaves an item; 0 where the ledger has none."""
    kept = item.current_price_minor or 0
    return kept if item.suggested_price_minor is None else item.suggested_price_minor


def count_reasons(items: Sequence[RunItem]) -> Counter[str]:
    """Return how many of the items keep their price, by reason."""
    return Counter(item.reason for item in items if item.reason is not None)


class PricingRuns:
    """The repository of runs, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, run: NewRun, items: Sequence[RunItem]) -> None:
        """Store a run with its items, and remove what is beyond the runs that are kept."""
        values = {
            **vars(run),
            "totals": dict(run.totals),
            "kept": dict(run.kept),
            "held": list(run.held),
            "broken_rules": list(run.broken_rules),
            "notes": list(run.notes),
            "versions": dict(run.versions),
        }
        self._connection.execute(pricing_runs.insert(), values)
        rows = [{"run_id": run.id, **vars(item)} for item in items]
        if rows:
            self._connection.execute(pricing_run_items.insert(), rows)
        self._remove_old(run.zone)

    def page(self, zone: str | None, *, before: int | None, limit: int) -> list[PricingRun]:
        """Return the runs of a zone, or of all, before number `before`, newest first."""
        query = sa.select(pricing_runs).order_by(pricing_runs.c.seq.desc()).limit(limit)
        if zone is not None:
            query = query.where(pricing_runs.c.zone == zone)
        if before is not None:
            query = query.where(pricing_runs.c.seq < before)
        return [_build_run(row) for row in self._connection.execute(query).mappings()]

    def get(self, run_id: str) -> PricingRun | None:
        """Return the run with this id."""
        query = sa.select(pricing_runs).where(pricing_runs.c.id == run_id)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _build_run(row)

    def has_items(self, run_id: str) -> bool:
        """Return whether the items of the run are still kept."""
        query = sa.select(pricing_run_items.c.item_id).where(pricing_run_items.c.run_id == run_id)
        return self._connection.execute(query.limit(1)).first() is not None

    def items(
        self, run_id: str, criteria: RunItemFilter, *, after: str = "", limit: int | None = None
    ) -> list[RunItem]:
        """Return the items of a run whose ids follow `after`, by id."""
        table = pricing_run_items.c
        conditions = [table.run_id == run_id, table.item_id > after, *_list_conditions(criteria)]
        query = sa.select(*_ITEM_COLUMNS).where(*conditions).order_by(table.item_id).limit(limit)
        return [RunItem(**row) for row in self._connection.execute(query).mappings()]

    def count_items(self, run_id: str, criteria: RunItemFilter) -> int:
        """Return how many items of a run meet the conditions."""
        table = pricing_run_items.c
        conditions = [table.run_id == run_id, *_list_conditions(criteria)]
        query = sa.select(sa.func.count()).select_from(pricing_run_items).where(*conditions)
        return int(self._connection.execute(query).scalar_one())

    def list_differences(
        self, first: str, second: str, limit: int, *, skip: int = 0
    ) -> list[RunDifference]:
        """Return the items of two runs that end at another price, the largest relative difference
        first, `skip` of them left out; only those of which a run suggested a price."""
        query = _join_differences(first, second).order_by(sa.desc("share"), "a_item_id")
        rows = self._connection.execute(query.limit(limit).offset(skip))
        differences = []
        for row in rows.mappings():
            one, other = (
                RunItem(**{c.name: row[f"{side}_{c.name}"] for c in _ITEM_COLUMNS})
                for side in ("a", "b")
            )
            differences.append(
                RunDifference(one.item_id, other.title or one.title, other.category, one, other)
            )
        return differences

    def count_differences(self, first: str, second: str) -> int:
        """Return of how many items two runs end at another price."""
        query = _join_differences(first, second).subquery()
        count = sa.select(sa.func.count()).select_from(query)
        return int(self._connection.execute(count).scalar_one())

    def count_shared(self, first: str, second: str) -> int:
        """Return how many items two runs both looked at."""
        a, b = pricing_run_items.alias("a"), pricing_run_items.alias("b")
        joined = a.join(b, a.c.item_id == b.c.item_id)
        query = sa.select(sa.func.count()).select_from(joined)
        query = query.where(a.c.run_id == first, b.c.run_id == second)
        return int(self._connection.execute(query).scalar_one())

    def of_item(self, item_id: str, zone: str | None) -> list[tuple[PricingRun, RunItem]]:
        """Return what the kept runs decided about an item, newest first."""
        query = (
            sa.select(
                pricing_runs, *(column.label(f"item_{column.name}") for column in _ITEM_COLUMNS)
            )
            .join(pricing_run_items, pricing_run_items.c.run_id == pricing_runs.c.id)
            .where(pricing_run_items.c.item_id == item_id)
            .order_by(pricing_runs.c.seq.desc())
        )
        if zone is not None:
            query = query.where(pricing_runs.c.zone == zone)
        outcomes = []
        for row in self._connection.execute(query).mappings():
            item = RunItem(**{column.name: row[f"item_{column.name}"] for column in _ITEM_COLUMNS})
            run = {column.name: row[column.name] for column in pricing_runs.c}
            outcomes.append((PricingRun(**run), item))
        return outcomes

    def newest(self) -> list[PricingRun]:
        """Return the newest run of each zone."""
        newest = sa.select(sa.func.max(pricing_runs.c.seq)).group_by(pricing_runs.c.zone)
        query = sa.select(pricing_runs).where(pricing_runs.c.seq.in_(newest))
        rows = self._connection.execute(query.order_by(pricing_runs.c.zone)).mappings()
        return [_build_run(row) for row in rows]

    def _remove_old(self, zone: str) -> None:
        runs, items = pricing_runs.c, pricing_run_items.c
        newest_first = sa.select(runs.id).where(runs.zone == zone).order_by(runs.seq.desc())
        ids = list(self._connection.execute(newest_first).scalars())
        in_zone = sa.select(runs.id).where(runs.zone == zone)
        self._connection.execute(
            pricing_run_items.delete().where(
                items.run_id.in_(in_zone), items.run_id.not_in(ids[:KEPT_ITEM_RUNS])
            )
        )
        if old := ids[KEPT_RUNS:]:
            self._connection.execute(pricing_runs.delete().where(runs.id.in_(old)))


_ITEM_COLUMNS = tuple(column for column in pricing_run_items.c if column.name not in ("run_id",))


def _join_differences(first: str, second: str) -> _Query:
    """Return the query of the items whose prices differ between two runs, and by which share."""
    a, b = pricing_run_items.alias("a"), pricing_run_items.alias("b")
    prices = [
        sa.func.coalesce(side.c.suggested_price_minor, side.c.current_price_minor)
        for side in (a, b)
    ]
    columns = [
        side.c[column.name].label(f"{side.name}_{column.name}")
        for side in (a, b)
        for column in _ITEM_COLUMNS
    ]
    share = sa.func.abs(prices[1] - prices[0]) * 1.0 / prices[0]
    return (
        sa.select(*columns, share.label("share"))
        .join_from(a, b, a.c.item_id == b.c.item_id)
        .where(a.c.run_id == first, b.c.run_id == second, prices[0] != prices[1], prices[0] > 0)
        .where(
            sa.or_(a.c.suggested_price_minor.is_not(None), b.c.suggested_price_minor.is_not(None))
        )
    )


def _build_run(row: sa.RowMapping) -> PricingRun:
    values: dict[str, Any] = dict(row)
    return PricingRun(**values)


def _list_conditions(criteria: RunItemFilter) -> list[sa.ColumnElement[bool]]:
    table = pricing_run_items.c
    conditions: list[sa.ColumnElement[bool]] = []
    if criteria.category is not None:
        below = table.category.startswith(f"{criteria.category} > ", autoescape=True)
        conditions.append(sa.or_(table.category == criteria.category, below))
    for name in ("outcome", "reason", "item_id"):
        value = getattr(criteria, name)
        if value is not None:
            conditions.append(table[name] == value)
    return conditions
