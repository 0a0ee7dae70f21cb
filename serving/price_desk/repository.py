"""Price suggestions as rows. What may become what is decided in serving/price_desk/service.py."""

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
    """By which share a price changes, to nine digits so that 1.90 for 2.00 is 5 % and no hair
    less."""
    return round(price_minor / before_minor - 1, 9) if before_minor else 0.0


@dataclass(frozen=True)
class NewSuggestion:
    """A suggestion to file; money in minor units of `currency`, times in business time.

    base_price_id  the ledger row it was computed against: when another is in force, the suggestion
                   is stale
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
        """By which share the price changes."""
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


class Place(NamedTuple):
    """A suggestion's place in the queue."""

    seq: int
    id: str
    item_id: str
    zone: str
    kind: str


@dataclass(frozen=True)
class SuggestionFilter:
    """Which suggestions. `category` matches it and all below; `min_change` is a share of the price,
    0.05 = 5 %."""

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
        """Files suggestions and returns their ids, in the same order."""
        ids = [f"sug_{secrets.token_hex(10)}" for _ in rows]
        values = [
            {
                **vars(row),
                "waterfall": list(row.waterfall),
                "share_change": row.share_change,
                "id": key,
                "version": 1,
                "updated_at": row.created_at,
            }
            for key, row in zip(ids, rows, strict=True)
        ]
        if values:
            self._connection.execute(price_suggestions.insert(), values)
        return ids

    def get(self, suggestion_id: str) -> Suggestion | None:
        """The suggestion with this id."""
        found = self.by_ids([suggestion_id])
        return found[0] if found else None

    def by_ids(self, ids: Iterable[str], *, reasons: bool = True) -> list[Suggestion]:
        """The suggestions with these ids, oldest first; unknown ids are left out.

        Without `reasons`, expected, waterfall and details are not read: thousands are decided
        without them.
        """
        distinct = list(dict.fromkeys(ids))
        found: list[Suggestion] = []
        for start in range(0, len(distinct), _CHUNK):
            chosen = price_suggestions.c.id.in_(distinct[start : start + _CHUNK])
            found += self._select(sa.select(*_columns(reasons)).where(chosen))
        return sorted(found, key=lambda suggestion: suggestion.seq)

    def matching(
        self,
        which: SuggestionFilter,
        *,
        after: int = 0,
        limit: int | None = None,
        reasons: bool = True,
    ) -> list[Suggestion]:
        """The suggestions of a filter after number `after`, oldest first; `reasons` as in
        `by_ids`."""
        query = sa.select(*_columns(reasons)).where(
            price_suggestions.c.seq > after, *_conditions(which)
        )
        return self._select(query.order_by(price_suggestions.c.seq).limit(limit))

    def largest_gains(self, which: SuggestionFilter, limit: int) -> list[Suggestion]:
        """The suggestions of a filter with the largest expected gain in profit, largest first."""
        gain = price_suggestions.c.gain_minor
        query = sa.select(price_suggestions).where(gain.is_not(None), *_conditions(which))
        return self._select(query.order_by(gain.desc(), price_suggestions.c.seq).limit(limit))

    def change(self, ids: Sequence[str], now: datetime, **values: Any) -> None:
        """Sets the same values on many suggestions and counts their versions up."""
        for start in range(0, len(ids), _CHUNK):
            chosen = price_suggestions.c.id.in_(ids[start : start + _CHUNK])
            self._connection.execute(
                price_suggestions.update()
                .where(chosen)
                .values(version=price_suggestions.c.version + 1, updated_at=now, **values)
            )

    def enact(self, ids: Sequence[str], now: datetime, **values: Any) -> None:
        """As `change`, and names the ledger row that each suggestion became: it must be there
        already."""
        table = price_ledger.c
        became = sa.select(table.price_id).where(table.suggestion_id == price_suggestions.c.id)
        self.change(ids, now, price_id=became.scalar_subquery(), **values)

    def of_items(self, pairs: Iterable[tuple[str, str]], statuses: Sequence[str]) -> list[Place]:
        """Suggestions in one of the statuses for any of the (item, zone) pairs, oldest first."""
        wanted = set(pairs)
        items = sorted({item for item, _ in wanted})
        table = price_suggestions.c
        found: list[Place] = []
        for start in range(0, len(items), _CHUNK):
            query = sa.select(*(table[name] for name in Place._fields)).where(
                table.item_id.in_(items[start : start + _CHUNK]), table.status.in_(statuses)
            )
            rows = (Place(*row) for row in self._connection.execute(query))
            found += [row for row in rows if (row.item_id, row.zone) in wanted]
        return sorted(found)

    def rejected(self, zone: str, since: datetime) -> dict[str, str]:
        """Items of a zone with a suggestion turned down after `since`, and the ledger row it was
        computed against."""
        table = price_suggestions.c
        query = sa.select(table.item_id, table.base_price_id).where(
            table.zone == zone, table.status == "rejected", table.decided_at > since
        )
        rows = self._connection.execute(query.order_by(table.decided_at, table.seq))
        return {row.item_id: row.base_price_id for row in rows}

    def due(self, now: datetime) -> list[Suggestion]:
        """Suggestions whose status time has overtaken: open ones that expire, scheduled ones that
        begin, live promotions that end."""
        table = price_suggestions.c
        return self._select(
            sa.select(price_suggestions)
            .where(
                sa.or_(
                    sa.and_(table.status.in_(OPEN), table.expires_at <= now),
                    sa.and_(table.status == "scheduled", table.effective_from <= now),
                    sa.and_(table.status == "live", table.ends_at <= now),
                )
            )
            .order_by(table.seq)
        )

    def _select(self, query: sa.Select[Any]) -> list[Suggestion]:
        return [_suggestion(row) for row in self._connection.execute(query)]


def _columns(reasons: bool) -> list[sa.Column[Any]]:
    return [column for column in price_suggestions.c if reasons or column.name not in _REASONS]


def _conditions(which: SuggestionFilter) -> list[sa.ColumnElement[bool]]:
    table = price_suggestions.c
    found: list[sa.ColumnElement[bool]] = []
    if which.status:
        found.append(table.status.in_(which.status))
    if which.category is not None:
        below = table.category.startswith(f"{which.category} > ", autoescape=True)
        found.append(sa.or_(table.category == which.category, below))
    if which.min_change is not None:
        found.append(sa.func.abs(table.share_change) >= which.min_change)
    if which.item_ids:
        found.append(table.item_id.in_(which.item_ids))
    plain = {name: getattr(which, name) for name in ("zone", "evidence_grade", "run_id")}
    found += [table[name] == value for name, value in plain.items() if value is not None]
    return found


def _suggestion(row: sa.Row[Any]) -> Suggestion:
    values = dict(row._mapping)
    del values["share_change"]
    return Suggestion(**values)
