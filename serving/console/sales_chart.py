"""Sales of an item with its prices and promotions by week, and the forecast ahead."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from nicegui import ui

from features.contracts.money import to_major
from serving.console.charts import BETTER, MUTED, SECOND, Series, Span, show_chart
from serving.console.visit import Visit
from serving.forecasts.history import SoldWeek


def show_sales(
    visit: Visit, currency: str, weeks: Sequence[SoldWeek], forecast: Sequence[Any]
) -> None:
    """Show units as bars, list and offer price as steps, promotions shaded, the forecast ahead."""
    texts = visit.texts
    if not any(week.units for week in weeks) and not forecast:
        ui.label(texts.get("suggestion.no_history")).classes("muted")
        return
    digits = Decimal(10) ** -len(to_major(1, currency).partition(".")[2])

    def major(minor: float | None) -> float | None:
        return None if minor is None else round(float(Decimal(minor) * digits), 2)

    labels = [texts.day(week.week_start) for week in weeks]
    ahead = [texts.day(period.start) for period in forecast]
    none_ahead: list[float | None] = [None] * len(ahead)
    none_before: list[float | None] = [None] * len(labels)
    spans = [
        Span(label, label)
        for label, week in zip(labels, weeks, strict=True)
        if week.promotion_depth
    ]
    series = [
        Series(
            texts.get("suggestion.units"),
            [week.units for week in weeks] + none_ahead,
            kind="bar",
            color=MUTED,
        ),
        Series(
            texts.get("suggestion.list_price"),
            [major(week.list_price_minor) for week in weeks] + none_ahead,
            step=True,
            color=SECOND,
            second_axis=True,
        ),
        Series(
            texts.get("suggestion.offer_price"),
            [major(week.offer_price_minor) for week in weeks] + none_ahead,
            step=True,
            color=BETTER,
            second_axis=True,
        ),
    ]
    if forecast:
        low, high = (
            none_before + [float(getattr(period, level)) for period in forecast]
            for level in ("p10", "p90")
        )
        middle = none_before + [float(period.mean) for period in forecast]
        series.append(Series(texts.get("suggestion.forecast"), middle, band=(low, high)))
    marks = {ahead[0]: texts.get("suggestion.present")} if ahead else {}
    show_chart(
        visit,
        texts.get("suggestion.history"),
        labels + ahead,
        series,
        spans=spans,
        marks=marks,
        note=texts.get("suggestion.shaded") if spans else "",
    )
