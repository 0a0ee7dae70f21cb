"""Price changes that were approved, with what was predicted of them, and the looks at batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from features.database_tables import price_ledger
from features.one_of import one_of
from serving.database.desk_tables import batch_looks, price_suggestions

# Statuses of prices that were served, or are.
_SERVED = ("live", "superseded", "rolled_back", "expired")
# From a suggestion, and from its row of the ledger.
_OF_SUGGESTION = ("id", "run_id", "item_id", "zone", "category", "title", "currency", "status")
_REASONS = ("elasticity", "elasticity_error", "unit_cost_minor", "cost_source")


@dataclass(frozen=True, kw_only=True)
class PriceChange:
    """A price of the desk that began, and what its approval predicted.

    before_minor, after_minor   offer prices
    elasticity, elasticity_error   None where no response was known
    forecast_set_id   the forecasts frozen at its approval; None where none were served
    """

    price_id: str
    id: str
    run_id: str
    item_id: str
    zone: str
    category: str
    title: str | None
    currency: str
    status: str
    kind: str
    before_minor: int
    after_minor: int
    begins_at: datetime
    approved_at: datetime | None
    forecast_set_id: str | None
    elasticity: float | None = None
    elasticity_error: float | None = None
    unit_cost_minor: float | None = None
    cost_source: str | None = None


@dataclass(frozen=True)
class ChangeFilter:
    """Which changes; all conditions that are given must be met.

    since      when they began at the earliest, business time
    category   itself and all below it
    price_ids, suggestion_ids   any number of one of the two
    """

    since: datetime | None = None
    zone: str | None = None
    category: str | None = None
    run_id: str | None = None
    price_ids: tuple[str, ...] = ()
    suggestion_ids: tuple[str, ...] = ()


class LiveChange(NamedTuple):
    """A regular price of the desk that is live and whose forecast was frozen."""

    run_id: str
    zone: str
    item_id: str
    price_id: str
    before_minor: int
    begins_at: datetime


@dataclass(frozen=True, kw_only=True)
class BatchLook:
    """A look at the changes of a run, in one zone, whose first whole week is the same.

    week      whole weeks since then
    profit    p10, p50, p90 against keeping, minor units
    proposal_id   of the rollback that was proposed; `note` why none, or what is left out of it
    """

    run_id: str
    zone: str
    first_week: datetime
    week: int
    looked_at: datetime
    n_changes: int
    score: float
    limit_score: float
    profit: Mapping[str, float]
    currency: str
    is_alarm: bool = False
    proposal_id: str | None = None
    note: str | None = None


class Changes:
    """The repository of price changes that began up to `now`, business time, on one connection."""

    def __init__(self, connection: sa.Connection, now: datetime) -> None:
        self._connection, self._now = connection, now

    def list_matching(self, criteria: ChangeFilter) -> list[PriceChange]:
        """Return the changes of a filter, the latest first."""
        conditions = [*_build_conditions(criteria), *_have_begun(self._now)]
        changes = self._read(conditions)
        return sorted(changes, key=lambda one: (one.begins_at, one.price_id), reverse=True)

    def count_matching(self, criteria: ChangeFilter) -> int:
        """Return how many changes a filter without ids has."""
        conditions = [*_build_conditions(criteria), *_have_begun(self._now)]
        query = sa.select(sa.func.count()).select_from(_JOINED).where(*conditions)
        return self._connection.execute(query).scalar_one()

    def list_live(self, since: datetime) -> list[LiveChange]:
        """Return the live regular changes with a frozen forecast that began since a time."""
        table, ledger = price_suggestions.c, price_ledger.c
        query = (
            sa.select(
                table.run_id,
                table.zone,
                table.item_id,
                table.price_id,
                table.current_price_minor,
                ledger.valid_from,
            )
            .select_from(_JOINED)
            .where(
                table.status == "live",
                table.kind == "regular",
                table.forecast_set_id.is_not(None),
                ledger.valid_from >= since,
                ledger.valid_from <= self._now,
            )
            .order_by(ledger.valid_from.desc(), table.price_id.desc())
        )
        return [LiveChange(*row) for row in self._connection.execute(query)]

    def list_runs(self, zone: str, limit: int) -> list[str]:
        """Return the runs and proposals with live changes in a zone, the newest first."""
        table = price_suggestions.c
        query = (
            sa.select(table.run_id)
            .where(table.status == "live", table.zone == zone)
            .group_by(table.run_id)
            .order_by(sa.func.max(table.seq).desc())
            .limit(limit)
        )
        return list(self._connection.execute(query).scalars())

    def _read(self, conditions: Sequence[sa.ColumnElement[bool]]) -> Iterator[PriceChange]:
        for row in self._connection.execute(_select().where(*conditions)).mappings():
            values: dict[str, Any] = dict(row)
            details: Mapping[str, Any] = values.pop("details") or {}
            values |= {name: details.get(name) for name in _REASONS}
            yield PriceChange(**values)


class Looks:
    """The repository of looks, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def list_of_run(self, run_id: str, zone: str, first_week: datetime) -> list[BatchLook]:
        """Return the looks at a batch, the first first."""
        table = batch_looks.c
        conditions = table.run_id == run_id, table.zone == zone, table.first_week == first_week
        return self._read(sa.and_(*conditions))

    def list_since(self, first_week: datetime) -> list[BatchLook]:
        """Return the looks at batches whose first week is not before this one, the first first."""
        return self._read(batch_looks.c.first_week >= first_week)

    def list_alarms(self, zone: str | None, since: datetime) -> list[BatchLook]:
        """Return the looks that raised an alarm since a time, the newest first, of runs with a
        live change in their zone."""
        table, suggestion = batch_looks.c, price_suggestions.c
        is_live = sa.exists().where(
            suggestion.run_id == table.run_id,
            suggestion.zone == table.zone,
            suggestion.status == "live",
        )
        chosen = [table.is_alarm, table.looked_at >= since, is_live]
        if zone is not None:
            chosen.append(table.zone == zone)
        return self._read(sa.and_(*chosen))[::-1]

    def add(self, look: BatchLook) -> None:
        """Keep a look."""
        self._connection.execute(batch_looks.insert().values(**vars(look)))

    def _read(self, condition: sa.ColumnElement[bool]) -> list[BatchLook]:
        order = batch_looks.c.looked_at, batch_looks.c.run_id, batch_looks.c.week
        query = sa.select(batch_looks).where(condition).order_by(*order)
        return [BatchLook(**row) for row in self._connection.execute(query).mappings()]


_JOINED = price_suggestions.join(
    price_ledger, price_suggestions.c.price_id == price_ledger.c.price_id
)


def _select() -> sa.Select[tuple[object, ...]]:
    table, ledger = price_suggestions.c, price_ledger.c
    return sa.select(
        *(table[name] for name in _OF_SUGGESTION),
        table.kind,
        table.current_price_minor.label("before_minor"),
        table.suggested_price_minor.label("after_minor"),
        table.decided_at.label("approved_at"),
        table.forecast_set_id,
        table.details,
        ledger.price_id,
        ledger.valid_from.label("begins_at"),
    ).select_from(_JOINED)


def _build_conditions(criteria: ChangeFilter) -> list[sa.ColumnElement[bool]]:
    table, ledger = price_suggestions.c, price_ledger.c
    conditions: list[sa.ColumnElement[bool]] = [table.status.in_(_SERVED)]
    if criteria.since is not None:
        conditions.append(ledger.valid_from >= criteria.since)
    if criteria.zone is not None:
        conditions.append(table.zone == criteria.zone)
    if criteria.run_id is not None:
        conditions.append(table.run_id == criteria.run_id)
    if criteria.category is not None:
        below = table.category.startswith(f"{criteria.category} > ", autoescape=True)
        conditions.append(sa.or_(table.category == criteria.category, below))
    if criteria.suggestion_ids:
        conditions.append(one_of(table.id, criteria.suggestion_ids))
    elif criteria.price_ids:
        conditions.append(one_of(table.price_id, criteria.price_ids))
    return conditions


def _have_begun(now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of prices that were served.

    A price that was taken back, or replaced, before its time has a later row of the same beginning.
    """
    ledger, later = price_ledger.c, price_ledger.alias("later")
    was_replaced = sa.exists().where(
        later.c.item_id == ledger.item_id,
        later.c.zone == ledger.zone,
        later.c.valid_from == ledger.valid_from,
        later.c.seq > ledger.seq,
        sa.or_(later.c.reverts_price_id == ledger.price_id, later.c.valid_to.is_(None)),
    )
    return [
        ledger.valid_from <= now,
        sa.or_(price_suggestions.c.status == "live", ~was_replaced),
    ]
