"""Which suggestions of the queue, in which order: conditions and sort keys as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.contracts.errors import UnknownName
from serving.database.desk_tables import price_suggestions

_TABLE = price_suggestions.c
# What a grid sorts by. Suggestions without a value stand last, whichever way it is sorted.
# Of a sum no index is known: to look for few rows in the order of their numbers reads all.
_SEQ = _TABLE.seq + 0
SORT_KEYS: dict[str, sa.ColumnElement[Any]] = {
    "seq": _SEQ,
    "item": _TABLE.item_id,
    "title": _TABLE.title,
    "change": _TABLE.share_change,
    "gain": _TABLE.gain_minor,
    "category": _TABLE.category,
    "waits": _TABLE.created_at,
    "begins": _TABLE.effective_from,
    "decided": _TABLE.decided_at,
}
# What suggestions are counted by.
COUNTED = ("status", "category", "evidence_grade", "binding_rule", "proposed_by", "run_id", "zone")


@dataclass(frozen=True)
class SuggestionFilter:
    """Conditions that a suggestion meets all of; empty ones are left out.

    category        matches the category and all below it
    min_change      a share of the price, up or down: 0.05 = 5 %
    min_gain_minor  expected gain in profit at least, minor units; unknown gains do not match
    created_since   business time
    updated_since   business time of the last change
    text            a part of the item id or the title, in upper or lower case
    """

    status: tuple[str, ...] = ()
    category: str | None = None
    min_change: float | None = None
    zone: str | None = None
    item_ids: tuple[str, ...] = ()
    evidence_grades: tuple[str, ...] = ()
    run_id: str | None = None
    binding_rule: str | None = None
    min_gain_minor: float | None = None
    created_since: datetime | None = None
    updated_since: datetime | None = None
    text: str | None = None
    proposed_by: str | None = None


@dataclass(frozen=True)
class SuggestionSort:
    """The order of a grid: a key of SORT_KEYS; of equal values the older suggestion comes first.

    "waits" begins with the one that waits longest.
    """

    key: str = "seq"
    descending: bool = False

    def __post_init__(self) -> None:
        if self.key not in SORT_KEYS:
            raise UnknownName(self.key, SORT_KEYS, kind="sort key", where="sort")

    def order(self) -> tuple[sa.ColumnElement[object], ...]:
        """Return the terms of ORDER BY."""
        column = SORT_KEYS[self.key]
        directed = column.desc() if self.descending else column.asc()
        if getattr(column, "nullable", False):
            directed = directed.nulls_last()
        return directed, _SEQ.asc()


OLDEST_FIRST = SuggestionSort()


def make_search_text(item_id: str, title: str | None) -> str:
    """Return what a search looks into: id and title, without regard to upper and lower case."""
    return f"{item_id} {title or ''}".casefold()


def build_conditions(criteria: SuggestionFilter) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter, to be met all."""
    conditions: list[sa.ColumnElement[bool]] = []
    if criteria.status:
        conditions.append(_TABLE.status.in_(criteria.status))
    if criteria.category is not None:
        below = _TABLE.category.startswith(f"{criteria.category} > ", autoescape=True)
        conditions.append(sa.or_(_TABLE.category == criteria.category, below))
    if criteria.min_change is not None:
        conditions.append(sa.func.abs(_TABLE.share_change) >= criteria.min_change)
    if criteria.item_ids:
        conditions.append(_TABLE.item_id.in_(criteria.item_ids))
    if criteria.evidence_grades:
        conditions.append(_TABLE.evidence_grade.in_(criteria.evidence_grades))
    if criteria.min_gain_minor is not None:
        conditions.append(_TABLE.gain_minor >= criteria.min_gain_minor)
    if criteria.created_since is not None:
        conditions.append(_TABLE.created_at >= criteria.created_since)
    if criteria.updated_since is not None:
        conditions.append(_TABLE.updated_at >= criteria.updated_since)
    if criteria.text:
        conditions.append(_TABLE.search_text.contains(criteria.text.casefold(), autoescape=True))
    for name in ("zone", "run_id", "binding_rule", "proposed_by"):
        value = getattr(criteria, name)
        if value is not None:
            conditions.append(_TABLE[name] == value)
    return conditions
