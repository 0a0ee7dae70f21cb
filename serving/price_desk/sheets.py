"""Suggestions as a table for people: prices, costs, margins, expected effects, reasons, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.money import to_major
from serving.database.audit_log import read_actor_names
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestion, Suggestions
from serving.spreadsheets import Cell, Sheet

_PAGE = 1_000
_QUANTILES = ("p10", "p50", "p90")


def tabulate_suggestions(
    connection: sa.Connection, settings: Settings, criteria: SuggestionFilter
) -> Sheet:
    """Return the suggestions of a filter, oldest first, read page by page."""
    names = read_actor_names(connection)

    def read_rows() -> Iterator[list[Cell]]:
        for suggestion in _iterate_suggestions(connection, criteria):
            row = _Row(suggestion, settings.zone(suggestion.zone).net_share, names)
            yield [read(row) for read in _COLUMNS.values()]

    return Sheet(tuple(_COLUMNS), read_rows())


def _iterate_suggestions(
    connection: sa.Connection, criteria: SuggestionFilter
) -> Iterator[Suggestion]:
    after = 0
    while page := Suggestions(connection).matching(criteria, after=after, limit=_PAGE):
        yield from page
        after = page[-1].seq


def compute_margin(
    unit_cost_minor: float | None, price_minor: int, net_share: float
) -> float | None:
    """Return the share of the net price that is left after the unit cost; None where no cost is
    known, or for a price of nothing."""
    if unit_cost_minor is None or not price_minor:
        return None
    return 1 - unit_cost_minor / (price_minor * net_share)


class _Row:
    """A suggestion, as the columns read it."""

    def __init__(self, suggestion: Suggestion, net_share: float, names: Mapping[str, str]) -> None:
        self.suggestion = suggestion
        self.details = suggestion.details
        self._net_share = net_share
        self._names = names

    def money(self, minor: float | None) -> Decimal | None:
        """Return an amount in major units."""
        if minor is None:
            return None
        return Decimal(to_major(round(minor), self.suggestion.currency))

    def margin(self, price_minor: int) -> float | None:
        """Return the share of the net price that is left of it after the unit cost."""
        margin = compute_margin(self.details.get("unit_cost_minor"), price_minor, self._net_share)
        return None if margin is None else round(margin, 4)

    def effect(self, name: str, quantile: str, *, gain: bool) -> Cell:
        """Return an expected value over the horizon, or its difference from keeping the price."""
        expected: Mapping[str, Any] = (self.suggestion.expected or {}).get(name) or {}
        values: Mapping[str, float] = expected.get("against_keeping") or {} if gain else expected
        value = values.get(quantile)
        if name == "units":
            return None if value is None else round(value, 2)
        return self.money(value)

    def name(self, actor: str | None) -> str | None:
        """Return the name of a person or key today."""
        return None if actor is None else self._names.get(actor, actor)

    def reasons(self) -> str:
        """Return the way to the price, a rule after the other."""
        return "; ".join(
            f"{step['rule']} {self.money(step.get('after_minor'))}"
            + (f" ({step['note']})" if step.get("note") else "")
            for step in self.suggestion.waterfall
        )


def _read_effect(name: str, quantile: str, *, gain: bool) -> Callable[[_Row], Cell]:
    return lambda row: row.effect(name, quantile, gain=gain)


_COLUMNS: dict[str, Callable[[_Row], Cell]] = {
    "id": lambda row: row.suggestion.id,
    "status": lambda row: row.suggestion.status,
    "item_id": lambda row: row.suggestion.item_id,
    "title": lambda row: row.suggestion.title,
    "category": lambda row: row.suggestion.category,
    "zone": lambda row: row.suggestion.zone,
    "currency": lambda row: row.suggestion.currency,
    "list_price": lambda row: row.money(row.suggestion.list_price_minor),
    "current_price": lambda row: row.money(row.suggestion.current_price_minor),
    "suggested_price": lambda row: row.money(row.suggestion.suggested_price_minor),
    "change": lambda row: round(row.suggestion.share_change, 4),
    "unit_cost": lambda row: row.money(row.details.get("unit_cost_minor")),
    "cost_source": lambda row: row.details.get("cost_source"),
    "margin_now": lambda row: row.margin(row.suggestion.current_price_minor),
    "margin_new": lambda row: row.margin(row.suggestion.suggested_price_minor),
    "competitor_price": lambda row: row.money(row.details.get("competitor_price_minor")),
    **{
        f"{name}_{quantile}": _read_effect(name, quantile, gain=False)
        for name in ("units", "revenue", "profit")
        for quantile in _QUANTILES
    },
    **{
        f"{name}_gain_{quantile}": _read_effect(name, quantile, gain=True)
        for name in ("units", "revenue", "profit")
        for quantile in _QUANTILES
    },
    "horizon_weeks": lambda row: row.details.get("horizon_weeks"),
    "evidence_grade": lambda row: row.suggestion.evidence_grade,
    "binding_rule": lambda row: row.suggestion.binding_rule,
    "reasons": lambda row: row.reasons(),
    "flags": lambda row: "; ".join(row.details.get("flags") or ()),
    "proposed_by": lambda row: row.name(row.suggestion.proposed_by),
    "edited_by": lambda row: row.name(row.suggestion.edited_by),
    "decided_by": lambda row: row.name(row.suggestion.decided_by),
    "decided_at": lambda row: row.suggestion.decided_at,
    "reason": lambda row: row.suggestion.reason,
    "effective_from": lambda row: row.suggestion.effective_from,
    "starts_at": lambda row: row.suggestion.starts_at,
    "ends_at": lambda row: row.suggestion.ends_at,
    "expires_at": lambda row: row.suggestion.expires_at,
    "created_at": lambda row: row.suggestion.created_at,
    "run_id": lambda row: row.suggestion.run_id,
    "price_id": lambda row: row.suggestion.price_id,
}
