"""Charts in one theme, each with a table of the same numbers below it.

Uncertainty is a band, the present a vertical line, promotions are shaded spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from nicegui import ui

from serving.console.parts import Column, name_element, show_table
from serving.console.visit import Visit

# Colours that hold their contrast on both grounds; better and worse are never told by them alone.
ACCENT, SECOND, BAND, MUTED = "#4a86e0", "#c2761b", "rgba(74,134,224,0.22)", "#8a93a5"
# Drawn as SVG, words take the colours of the page, which change with its theme.
TEXT, GRID = "var(--muted)", "var(--line)"
BETTER, WORSE = "#2f9b57", "#d0534a"


class Chart(ui.echart, component="static/chart.js"):
    """A chart that may leave the page at any time."""


@dataclass(frozen=True)
class Series:
    """A line or bars of a chart; `band` are lower and upper values around them."""

    name: str
    values: Sequence[float | None]
    kind: str = "line"
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None
    step: bool = False
    color: str = ACCENT
    second_axis: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar of `show_bars`, with the interval around its end where that is known."""

    name: str
    value: float
    is_marked: bool = False
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Span:
    """A shaded part of the x axis, from one label to another."""

    start: str
    end: str


def show_chart(
    visit: Visit,
    name: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    spans: Sequence[Span] = (),
    marks: Mapping[str, str] | None = None,
    note: str = "",
    height: int = 280,
    digits: int = 1,
) -> Chart:
    """Show series over labels, and the same numbers as a table to open.

    `marks` are vertical lines: a text by the label that it stands at. `note` says what is shaded.
    """
    option = _build_option(labels, series, spans, marks or {})
    chart = Chart(option, renderer="svg").classes("chart").style(f"height: {height}px")
    name_element(chart.props("role=img"), name)
    if note:
        ui.label(note).classes("muted")
    _show_numbers(visit, name, labels, series, digits)
    return chart


def show_bars(visit: Visit, name: str, bars: Sequence[Bar], *, digits: int = 1) -> None:
    """Show values as bars that lie below each other, and the same numbers as a table to open."""
    texts = visit.texts
    data = [
        {
            "value": round(bar.value, digits),
            "itemStyle": {"color": ACCENT if bar.is_marked else MUTED},
        }
        for bar in bars
    ]
    label = {"show": True, "position": "right", "color": TEXT}
    option = {
        "animation": False,
        "grid": {"left": 8, "right": 64, "top": 4, "bottom": 4, "containLabel": True},
        "tooltip": {"trigger": "item", "confine": True},
        "xAxis": {"type": "value", "show": False, "min": min(0.0, *(bar.value for bar in bars))},
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [bar.name for bar in bars],
            "axisLabel": {"color": TEXT, "width": 180, "overflow": "truncate"},
            "axisTick": {"show": False},
        },
        "series": [
            {
                "type": "bar",
                "data": data,
                "barMaxWidth": 18,
                "label": label,
            }
        ],
    }
    chart = Chart(option, renderer="svg").classes("chart").style(f"height: {24 * len(bars) + 16}px")
    name_element(chart.props("role=img"), name)

    def write_interval(bar: Bar) -> str:
        low, high = bar.interval or (None, None)
        return f"{texts.number(low, digits)}–{texts.number(high, digits)}" if bar.interval else "–"

    columns = [
        Column("", lambda bar: bar.name),
        Column(name, lambda bar: texts.number(bar.value, digits), is_number=True),
        Column(texts.get("frame.interval"), write_interval, is_number=True),
    ]
    with ui.expansion(texts.get("frame.as_table")).props("dense").classes("numbers"):
        show_table(bars, columns, caption=name)


def _build_option(
    labels: Sequence[str],
    series: Sequence[Series],
    spans: Sequence[Span],
    marks: Mapping[str, str],
) -> dict[str, Any]:
    drawn: list[dict[str, Any]] = []
    for one in series:
        if one.band is not None:
            drawn += _draw_band(one)
        drawn.append(_draw_series(one))
    if drawn:
        drawn[-1]["markArea"] = {
            "silent": True,
            "itemStyle": {"color": "rgba(194,118,27,0.14)"},
            "label": {"show": False},
            "data": [[{"xAxis": span.start}, {"xAxis": span.end}] for span in spans],
        }
        drawn[-1]["markLine"] = {
            "silent": True,
            "symbol": "none",
            "lineStyle": {"color": TEXT, "type": "dashed"},
            "label": {"color": TEXT, "formatter": "{b}"},
            "data": [{"xAxis": label, "name": text} for label, text in marks.items()],
        }
    axis = {"axisLabel": {"color": TEXT}, "splitLine": {"lineStyle": {"color": GRID}}}
    has_second = any(one.second_axis for one in series)
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {
            "top": 0,
            "left": 0,
            "textStyle": {"color": TEXT},
            "data": [one.name for one in series],
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            "type": "category",
            "data": list(labels),
            "axisLabel": {"color": TEXT},
            "axisTick": {"show": False},
        },
        "yAxis": [{"type": "value", **axis}]
        + ([{"type": "value", "position": "right", **axis}] if has_second else []),
        "series": drawn,
    }


def _draw_series(one: Series) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.kind,
        "data": list(one.values),
        "step": "end" if one.step else False,
        "symbol": "none" if len(one.values) > 60 else "circle",
        "symbolSize": 5,
        "itemStyle": {"color": one.color},
        "lineStyle": {"color": one.color, "width": 2},
        "yAxisIndex": 1 if one.second_axis else 0,
        "barMaxWidth": 24,
    }


def _draw_band(one: Series) -> list[dict[str, Any]]:
    """Two lines without strokes on top of each other; the space between them is filled."""
    low, high = one.band or ((), ())
    width = [
        None if bottom is None or top is None else top - bottom
        for bottom, top in zip(low, high, strict=True)
    ]
    shared = {
        "type": "line",
        "stack": f"band of {one.name}",
        "stackStrategy": "all",  # also where a band begins below 0 and ends above
        "symbol": "none",
        "lineStyle": {"opacity": 0},
        "tooltip": {"show": False},
        "silent": True,
        "yAxisIndex": 1 if one.second_axis else 0,
    }
    return [
        {**shared, "data": list(low)},
        {**shared, "data": width, "areaStyle": {"color": BAND}},
    ]


def _show_numbers(
    visit: Visit, name: str, labels: Sequence[str], series: Sequence[Series], digits: int
) -> None:
    texts = visit.texts

    def write(one: Series, place: int) -> str:
        text = texts.number(one.values[place], digits)
        if one.band is None or one.band[0][place] is None:
            return text
        low, high = (texts.number(side[place], digits) for side in one.band)
        return f"{text} ({low}–{high})"

    def add_column(one: Series) -> Column:
        return Column(one.name, lambda place: write(one, place), is_number=True)

    with ui.expansion(texts.get("frame.as_table")).props("dense").classes("numbers") as numbers:
        columns = [Column("", lambda place: labels[place]), *map(add_column, series)]
    numbers.on_value_change(lambda event: _fill_once(numbers, event.value, labels, columns, name))


def _fill_once(
    numbers: ui.expansion,
    is_open: bool,
    labels: Sequence[str],
    columns: Sequence[Column],
    name: str,
) -> None:
    """Build the table when it is looked at for the first time."""
    if is_open and not numbers.default_slot.children:
        with numbers:
            show_table(range(len(labels)), columns, caption=name)


def draw_spark(values: Sequence[float | None], label: str) -> str:
    """Return a small line of values as SVG; "" where nothing is known."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    scale = 18 / (high - low) if high > low else 0
    step = 86 / max(1, len(values) - 1)
    points = " ".join(
        f"{1 + place * step:.1f},{20 - (value - low) * scale:.1f}"
        for place, value in enumerate(values)
        if value is not None
    )
    return (
        f'<svg class="spark" viewBox="0 0 88 22" role="img" aria-label="{escape(label)}">'
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.5" points="{points}"/></svg>'
    )


def label_weeks(visit: Visit, weeks: Sequence[datetime]) -> list[str]:
    """Return the starts of weeks as labels."""
    return [visit.texts.day(week) for week in weeks]
