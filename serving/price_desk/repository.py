"""Price suggestions as rows. Which status may follow which is decided in decisions.py."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from features.database import price_ledger
from serving.database.tables import price_suggestions

OPEN = ("suggested", "submitted")
_CHUNK = 2_000
_REASONS = ("expected", "waterfall", "details")


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
    """A filed suggestion. `version` grows with every change: the ETag."""

    seq: int
    id: str
    version: int
    updated_at: datetime
    edited_by: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    price_id: str | None = None


class QueueEntry(NamedTuple):
    """A suggestion as far as another one of the same item may replace it."""

    seq: int
    id: str
    item_id: str
    zone: str
    kind: str


@dataclass(frozen=True)
class SuggestionFilter:
    """Conditions that a suggestion meets all of; empty ones are left out.

    category     matches the category and all below it
    min_change   a share of the price, 0.05 = 5 %
    """

    status: tuple[str, ...] = ()
    category: str | None = None
    min_change: float | None = None
    zone: str | None = None
    item_ids: tuple[str, ...] = ()
    evidence_grade: str | None = None
    run_id: str | None = None


class Suggestions:
    """The repository of suggestions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[NewSuggestion]) -> list[str]:
        """File suggestions and return their ids, in the same order."""
        ids = [f"sug_{secrets.token_hex(10)}" for _ in rows]
        values = [
            {
                **vars(row),
                "waterfall": list(row.waterfall),
                "share_change": row.share_change,
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
        distinct = list(dict.fromkeys(ids))
        suggestions: list[Suggestion] = []
        for start in range(0, len(distinct), _CHUNK):
            chosen = price_suggestions.c.id.in_(distinct[start : start + _CHUNK])
            suggestions += self._read(_select(reasons).where(chosen))
        return sorted(suggestions, key=lambda suggestion: suggestion.seq)

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
        query = _select(reasons).where(price_suggestions.c.seq > after, *_conditions(criteria))
        return self._read(query.order_by(price_suggestions.c.seq).limit(limit))

    def largest_gains(self, criteria: SuggestionFilter, limit: int) -> list[Suggestion]:
        """Return the suggestions with the largest expected gain in profit, largest first."""
        gain = price_suggestions.c.gain_minor
        query = _select(reasons=True).where(gain.is_not(None), *_conditions(criteria))
        return self._read(query.order_by(gain.desc(), price_suggestions.c.seq).limit(limit))

    def change(self, ids: Sequence[str], now: datetime, **values: object) -> None:
        """Set the same values on many suggestions and increase their versions."""
        for start in range(0, len(ids), _CHUNK):
            chosen = price_suggestions.c.id.in_(ids[start : start + _CHUNK])
            self._connection.execute(
                price_suggestions.update()
                .where(chosen)
                .values(version=price_suggestions.c.version + 1, updated_at=now, **values)
            )

    def enact(self, ids: Sequence[str], now: datetime, **values: object) -> None:
        """As `change`, and set the id of the ledger row that each suggestion became.

        The rows must be in the ledger already.
        """
        table = price_ledger.c
        price_id = sa.select(table.price_id).where(table.suggestion_id == price_suggestions.c.id)
        self.change(ids, now, price_id=price_id.scalar_subquery(), **values)

    def of_items(
        self, keys: Iterable[tuple[str, str]], statuses: Sequence[str]
    ) -> list[QueueEntry]:
        """Return suggestions of one of the statuses and (item, zone) keys, oldest first."""
        pairs = set(keys)
        items = sorted({item_id for item_id, _ in pairs})
        table = price_suggestions.c
        entries: list[QueueEntry] = []
        for start in range(0, len(items), _CHUNK):
            query = sa.select(*(table[name] for name in QueueEntry._fields)).where(
                table.item_id.in_(items[start : start + _CHUNK]), table.status.in_(statuses)
            )
            chunk = (QueueEntry(*row) for row in self._connection.execute(query))
            entries += [entry for entry in chunk if (entry.item_id, entry.zone) in pairs]
        return sorted(entries)

    def due(self, now: datetime) -> list[Suggestion]:
        """Return suggestions whose status must change by now: open ones that expire, scheduled ones
        that begin, live promotions that end."""
        table = price_suggestions.c
        overdue = sa.or_(
            sa.and_(table.status.in_(OPEN), table.expires_at <= now),
            sa.and_(table.status == "scheduled", table.effective_from <= now),
            sa.and_(table.status == "live", table.ends_at <= now),
        )
        return self._read(_select(reasons=True).where(overdue).order_by(table.seq))

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Suggestion]:
        return [_suggestion(row) for row in self._connection.execute(query).mappings()]


def _select(reasons: bool) -> sa.Select[tuple[object, ...]]:
    """Return a query of suggestions, with or without the columns of reasons."""
    columns = (column for column in price_suggestions.c if reasons or column.name not in _REASONS)
    return sa.select(*columns)


def _conditions(criteria: SuggestionFilter) -> list[sa.ColumnElement[bool]]:
    table = price_suggestions.c
    conditions: list[sa.ColumnElement[bool]] = []
    if criteria.status:
        conditions.append(table.status.in_(criteria.status))
    if criteria.category is not None:
        below = table.category.startswith(f"{criteria.category} > ", autoescape=True)
        conditions.append(sa.or_(table.category == criteria.category, below))
    if criteria.min_change is not None:
        conditions.append(sa.func.abs(table.share_change) >= criteria.min_change)
    if criteria.item_ids:
        conditions.append(table.item_id.in_(criteria.item_ids))
    for name in ("zone", "evidence_grade", "run_id"):
        value = getattr(criteria, name)
        if value is not None:
            conditions.append(table[name] == value)
    return conditions


def _suggestion(row: sa.RowMapping) -> Suggestion:
    values = dict(row)
    del values["share_change"]
    return Suggestion(**values)
