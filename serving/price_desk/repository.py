"""Price suggestions as rows. Which status may follow which is decided in decisions.py."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from features.contracts.errors import UnknownName
from features.database_tables import price_ledger
from features.one_of import one_of
from serving.database.audit_log import SYSTEM
from serving.database.desk_tables import SCHEDULED, price_suggestions
from serving.price_desk.filters import (
    COUNTED,
    SuggestionFilter,
    SuggestionSort,
    build_conditions,
    make_search_text,
)
from serving.price_desk.states import OPEN

IMPORT = "import"  # who proposed the prices of an import that wait
_REASONS = ("expected", "waterfall", "details")
_INTERNAL = ("share_change", "expired_from", "search_text")


def share_change(price_minor: int, before_minor: int) -> float:
    """Return the share by which a price changes.

    It is rounded to nine digits, so that 1.90 for 2.00 is 5 % exactly.
    """
    return round(price_minor / before_minor - 1, 9) if before_minor else 0.0


@dataclass(frozen=True)
class NewSuggestion:
    """A suggestion to file; money in minor units of `currency`, times in business time.

    base_price_id  the ledger row it was computed against: when another price is valid, the
                   suggestion is stale
    share_change   suggested / current - 1
    expected       {"units"|"revenue"|"profit": {"p10", "p50", "p90"}, "against_keeping": {the
                   same}}; None when unknown
    waterfall      steps from the opening price to the suggested one
    details        whatever else explains it: model versions, elasticity, assumptions
    """

    item_id: str
    zone: str
    status: str
    kind: str
    currency: str
    list_price_minor: int
    current_price_minor: int
    suggested_price_minor: int
    run_id: str
    base_price_id: str
    effective_from: datetime
    created_at: datetime
    proposed_by: str
    category: str = ""
    title: str | None = None
    expected: Mapping[str, Any] | None = None
    waterfall: Sequence[Mapping[str, Any]] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    gain_minor: float | None = None
    evidence_grade: str | None = None
    binding_rule: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def share_change(self) -> float:
        """The share by which the price changes."""
        return share_change(self.suggested_price_minor, self.current_price_minor)


@dataclass(frozen=True, kw_only=True)
class Suggestion(NewSuggestion):
    """A filed suggestion. `version` grows with every change: the ETag.

    forecast_set_id   the forecasts that its last approval froze; None where none were served
    """

    seq: int
    id: str
    version: int
    updated_at: datetime
    edited_by: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    price_id: str | None = None
    returned_reason: str | None = None
    forecast_set_id: str | None = None


class QueueEntry(NamedTuple):
    """A suggestion as far as another one of the same item may replace it."""

    seq: int
    id: str
    item_id: str
    zone: str
    kind: str
    proposed_by: str


class Suggestions:
    """The repository of suggestions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[NewSuggestion], ids: list[str] | None = None) -> list[str]:
        """File suggestions and return their ids, in the same order; new ones without `ids`."""
        ids = ids or [f"sug_{secrets.token_hex(10)}" for _ in rows]
        values = [
            {
                **vars(row),
                "waterfall": list(row.waterfall),
                "share_change": row.share_change,
                "search_text": make_search_text(row.item_id, row.title),
                "id": suggestion_id,
                "version": 1,
                "updated_at": row.created_at,
            }
            for suggestion_id, row in zip(ids, rows, strict=True)
        ]
        if values:
            self._connection.execute(price_suggestions.insert(), values)
        return ids

    def get(self, suggestion_id: str) -> Suggestion | None:
        """Return the suggestion with this id."""
        suggestions = self.by_ids([suggestion_id])
        return suggestions[0] if suggestions else None

    def by_ids(self, ids: Iterable[str], *, reasons: bool = True) -> list[Suggestion]:
        """Return the suggestions with these ids, oldest first; unknown ids are left out.

        Without `reasons`, expected, waterfall and details are not read: thousands are decided
        without them.
        """
        chosen = one_of(price_suggestions.c.id, set(ids))
        return self._read(_select(reasons).where(chosen).order_by(price_suggestions.c.seq))

    def read_details(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return what a run noted of its suggestions, by id."""
        table = price_suggestions.c
        query = sa.select(table.id, table.details).where(one_of(table.id, ids))
        return {row.id: row.details or {} for row in self._connection.execute(query).all()}

    def open_of(self, item_ids: Iterable[str]) -> list[QueueEntry]:
        """Return the undecided suggestions of items in all zones, oldest first."""
        ids = set(item_ids)
        if not ids:  # as a rule: nothing is off sale
            return []
        return self._list_entries(ids, OPEN)

    def open_of_runs(self, zone: str) -> list[QueueEntry]:
        """Return the undecided regular prices that runs suggested in a zone, oldest first."""
        table = price_suggestions.c
        query = sa.select(*(table[name] for name in QueueEntry._fields)).where(
            table.zone == zone,
            table.status.in_(OPEN),
            table.kind == "regular",
            table.proposed_by == SYSTEM,
        )
        return sorted(QueueEntry(*row) for row in self._connection.execute(query))

    def open_of_imports(self) -> list[QueueEntry]:
        """Return the prices of imports that wait as the price list gave them, oldest first."""
        table = price_suggestions.c
        query = sa.select(*(table[name] for name in QueueEntry._fields)).where(
            table.status.in_(OPEN), table.proposed_by == IMPORT, table.edited_by.is_(None)
        )
        return sorted(QueueEntry(*row) for row in self._connection.execute(query))

    def matching(
        self,
        criteria: SuggestionFilter,
        *,
        after: int = 0,
        limit: int | None = None,
        reasons: bool = True,
    ) -> list[Suggestion]:
        """Return the suggestions of a filter after number `after`, oldest first.

        `reasons` as in `by_ids`.
        """
        query = _select(reasons).where(price_suggestions.c.seq > after, *build_conditions(criteria))
        return self._read(query.order_by(price_suggestions.c.seq).limit(limit))

    def read_page(
        self, criteria: SuggestionFilter, sort: SuggestionSort, *, offset: int, limit: int
    ) -> tuple[list[Suggestion], int]:
        """Return the suggestions of a filter in an order, from position `offset` on, and how many
        the filter matches."""
        # The rows are wide: they are sorted by their numbers alone, and then read. Both come from
        # one scan, which takes most of the time.
        numbers = (
            sa.select(price_suggestions.c.seq, sa.func.count().over())
            .where(*build_conditions(criteria))
            .order_by(*sort.order())
            .offset(offset)
            .limit(limit)
        )
        chosen = self._connection.execute(numbers).all()
        if not chosen:  # also beyond the last page
            return [], self.count(criteria) if offset else 0
        by_seq = {
            suggestion.seq: suggestion for suggestion in self._by_seqs([row[0] for row in chosen])
        }
        return [by_seq[row[0]] for row in chosen], chosen[0][1]

    def count(self, criteria: SuggestionFilter) -> int:
        """Return how many suggestions a filter matches."""
        query = sa.select(sa.func.count(price_suggestions.c.seq))
        return self._connection.execute(query.where(*build_conditions(criteria))).scalar_one()

    def count_by(self, name: str, criteria: SuggestionFilter) -> dict[str, int]:
        """Return how many suggestions a filter matches by the values of a column of COUNTED, most
        first; those without a value are left out."""
        if name not in COUNTED:
            raise UnknownName(name, COUNTED, kind="column")
        column, number = price_suggestions.c[name], sa.func.count()
        query = (
            sa.select(column, number)
            .where(column.is_not(None), *build_conditions(criteria))
            .group_by(column)
            .order_by(number.desc(), column)
        )
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def list_undoable(
        self,
        statuses: Sequence[str],
        run_id: str | None,
        since: datetime | None,
        until: datetime | None,
        zone: str | None,
    ) -> list[str]:
        """Return the price ids of suggestions of a run, or that began in a span of time, the last
        row of the ledger first."""
        table, ledger = price_suggestions.c, price_ledger.c
        query = sa.select(ledger.price_id).join_from(
            price_suggestions, price_ledger, table.price_id == ledger.price_id
        )
        query = query.where(table.status.in_(statuses))
        if run_id is not None:
            query = query.where(table.run_id == run_id)
        if since is not None:
            query = query.where(ledger.valid_from >= since)
        if until is not None:
            query = query.where(ledger.valid_from < until)
        if zone is not None:
            query = query.where(table.zone == zone)
        return list(self._connection.execute(query.order_by(ledger.seq.desc())).scalars())

    def of_status(self, status: str) -> list[Suggestion]:
        """Return the suggestions of a status with their reasons, oldest first."""
        return self.matching(SuggestionFilter(status=(status,)))

    def list_categories(self) -> set[str]:
        """Return the categories of all suggestions, with those above them."""
        rows = self._connection.execute(sa.select(price_suggestions.c.category).distinct())
        paths = [category.split(" > ") for category in rows.scalars() if category]
        return {" > ".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)}

    def largest_gains(self, criteria: SuggestionFilter, limit: int) -> list[Suggestion]:
        """Return the suggestions with the largest expected gain in profit, largest first."""
        gain = price_suggestions.c.gain_minor
        query = _select(reasons=True).where(gain.is_not(None), *build_conditions(criteria))
        return self._read(query.order_by(gain.desc(), price_suggestions.c.seq).limit(limit))

    def change(self, ids: Sequence[str], now: datetime, **values: object) -> None:
        """Set the same values on many suggestions and increase their versions."""
        if ids:
            self._connection.execute(
                price_suggestions.update()
                .where(one_of(price_suggestions.c.id, ids))
                .values(version=price_suggestions.c.version + 1, updated_at=now, **values)
            )

    def enact(self, price_ids: Sequence[str], now: datetime, **values: object) -> None:
        """As `change`, of the suggestions that became these rows of the ledger, and set the row of
        each. The rows must be in the ledger already."""
        if price_ids:
            row = price_ledger.c
            self._connection.execute(
                price_suggestions.update()
                .where(one_of(row.price_id, price_ids), row.suggestion_id == price_suggestions.c.id)
                .values(
                    version=price_suggestions.c.version + 1,
                    updated_at=now,
                    price_id=row.price_id,
                    **values,
                )
            )

    def of_items(
        self, keys: Iterable[tuple[str, str]], statuses: Sequence[str]
    ) -> list[QueueEntry]:
        """Return suggestions of one of the statuses and (item, zone) keys, oldest first."""
        pairs = set(keys)
        entries = self._list_entries({item_id for item_id, _ in pairs}, statuses)
        return [entry for entry in entries if (entry.item_id, entry.zone) in pairs]

    def _list_entries(self, item_ids: set[str], statuses: Sequence[str]) -> list[QueueEntry]:
        """Return suggestions of items in one of the statuses, oldest first."""
        table = price_suggestions.c
        # Of a joined text no index is known: most suggestions may have one of the statuses.
        status = table.status + ""
        query = sa.select(*(table[name] for name in QueueEntry._fields)).where(
            one_of(table.item_id, item_ids), status.in_(statuses)
        )
        return sorted(QueueEntry(*row) for row in self._connection.execute(query))

    def due(self, now: datetime) -> list[Suggestion]:
        """Return suggestions whose status must change by now: open ones that expire, scheduled ones
        that begin, live promotions that end."""
        numbers: set[int] = set()
        for overdue in _list_overdue(now):
            query = sa.select(price_suggestions.c.seq).where(overdue)
            numbers |= set(self._connection.execute(query).scalars())
        return self._by_seqs(sorted(numbers))

    def is_due(self, now: datetime) -> bool:
        """Return whether `due` or `list_expired_too_early` would return any."""
        conditions = [*_list_overdue(now), *_list_too_early(now)]
        queries = [sa.exists().where(condition) for condition in conditions]
        return bool(self._connection.execute(sa.select(sa.or_(*queries))).scalar_one())

    def expire(self, suggestions: Sequence[Suggestion], now: datetime) -> None:
        """Let suggestions expire, and keep the status from which each did."""
        by_status: dict[str, list[str]] = {}
        for suggestion in suggestions:
            by_status.setdefault(suggestion.status, []).append(suggestion.id)
        for status, ids in by_status.items():
            self.change(ids, now, status="expired", expired_from=status)

    def list_expired_too_early(self, now: datetime) -> list[Suggestion]:
        """Return suggestions that expired at a time that has not come: a clock was ahead then.

        Not those whose item has a later suggestion by now.
        """
        return self._read(
            _select(reasons=True)
            .where(sa.or_(*_list_too_early(now)))
            .order_by(price_suggestions.c.seq)
        )

    def reopen(self, suggestions: Sequence[Suggestion], now: datetime) -> None:
        """Give expired suggestions the status from which they expired."""
        ids = [suggestion.id for suggestion in suggestions]
        self.change(ids, now, status=price_suggestions.c.expired_from, expired_from=None)

    def _by_seqs(self, seqs: Sequence[int]) -> list[Suggestion]:
        """Return the suggestions with these numbers, oldest first."""
        chosen = one_of(price_suggestions.c.seq, seqs)
        return self._read(_select(reasons=True).where(chosen).order_by(price_suggestions.c.seq))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Suggestion]:
        result = self._connection.execute(query)
        names = list(result.keys())
        # All rows at once: one by one, the driver takes longer than the objects do.
        return [Suggestion(**dict(zip(names, row, strict=True))) for row in result.all()]


def _select(reasons: bool) -> sa.Select[tuple[object, ...]]:
    """Return a query of suggestions, with or without the columns of reasons."""
    left_out = _INTERNAL if reasons else (*_INTERNAL, *_REASONS)
    return sa.select(*(column for column in price_suggestions.c if column.name not in left_out))


def _list_overdue(now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a status that time has ended; each has its index."""
    table = price_suggestions.c
    return [
        sa.and_(table.status.in_(OPEN), table.expires_at <= now),
        sa.and_(
            SCHEDULED,
            table.effective_from <= now,
            sa.or_(table.starts_at.is_(None), table.starts_at <= now),
        ),
        sa.and_(table.status == "live", table.ends_at <= now),
    ]


def _list_too_early(now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of an expiry at a time that has not come."""
    table = price_suggestions.c
    later = price_suggestions.alias("later")
    is_last = ~sa.exists().where(
        later.c.item_id == table.item_id, later.c.zone == table.zone, later.c.seq > table.seq
    )
    was_open = table.expired_from.in_(OPEN)
    return [
        sa.and_(table.status == "expired", table.expires_at > now, was_open, is_last),
        sa.and_(table.status == "expired", table.ends_at > now, ~was_open, is_last),
    ]
