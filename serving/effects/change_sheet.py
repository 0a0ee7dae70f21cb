"""What price changes brought, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from serving.effects.documents import ChangeEffectResponse, EffectsResponse
from serving.spreadsheets import Cell, Sheet

_QUANTITIES = ("units", "revenue", "profit")
_COLUMNS = (
    *("price_id", "suggestion_id", "run_id", "item_id", "title", "category", "zone", "currency"),
    *("status", "price_before", "price_after", "begins_at", "approved_at"),
    *("weeks_over", "weeks_counted", "weeks_left_out", "verdict"),
    *(
        f"{name}_{part}"
        for name in _QUANTITIES
        for part in ("sold", "keeping", "expected", "effect", "effect_p10", "effect_p90")
    ),
    *("control", "unknown", "cost_source", "demand_version", "forecast_made_at"),
)


def tabulate_effects(document: EffectsResponse) -> Sheet:
    """Return one row per change."""
    return Sheet(_COLUMNS, (_make_row(item) for item in document.items))


def _make_row(item: ChangeEffectResponse) -> list[Cell]:
    left_out = "; ".join(f"{reason}: {n}" for reason, n in item.weeks.left_out.items())
    forecast = item.forecast
    return [
        item.price_id,
        item.suggestion_id,
        item.run_id,
        item.item_id,
        item.title,
        item.category,
        item.zone,
        item.currency,
        item.status,
        Decimal(item.price_before),
        Decimal(item.price_after),
        item.begins_at,
        item.approved_at,
        item.weeks.over,
        item.weeks.counted,
        left_out or None,
        item.verdict,
        *_list_figures(item),
        item.control,
        item.unknown,
        item.cost_source,
        None if forecast is None else forecast.demand_version,
        None if forecast is None else forecast.made_at,
    ]


def _list_figures(item: ChangeEffectResponse) -> Iterator[Cell]:
    for name in _QUANTITIES:
        for quantities in (item.sold, item.keeping, item.expected):
            yield _to_number(None if quantities is None else getattr(quantities, name))
        band = None if item.effect is None else getattr(item.effect, name)
        for level in ("p50", "p10", "p90"):
            yield _to_number(None if band is None else getattr(band, level))


def _to_number(value: float | str | None) -> Cell:
    return Decimal(value) if isinstance(value, str) else value
