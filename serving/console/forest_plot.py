"""A forest plot: relative differences with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serving.console.charts import BETTER, GRID, MUTED, TEXT, WORSE, Chart
from serving.console.parts import name_element

Direction = Literal["better", "worse", "unclear"]

_COLOURS: dict[Direction, str] = {"better": BETTER, "worse": WORSE, "unclear": MUTED}
# Not by colour alone: up, down, round.
_SYMBOLS: dict[Direction, tuple[str, int]] = {
    "better": ("triangle", 0),
    "worse": ("triangle", 180),
    "unclear": ("circle", 0),
}
_MOST_PERCENT = 100.0
_ROW_HEIGHT = 34


@dataclass(frozen=True)
class ForestRow:
    """A difference with its interval, all in percent of the control."""

    name: str
    value: float
    low: float
    high: float
    direction: Direction = "unclear"


def show_forest(name: str, rows: Sequence[ForestRow]) -> Chart:
    """Show rows around a line at 0; an interval beyond _MOST_PERCENT goes to the edge."""
    chart = Chart(build_forest(rows), renderer="svg").classes("chart")
    chart.style(f"height: {_ROW_HEIGHT * len(rows) + 40}px")
    name_element(chart.props("role=img"), name)
    return chart


def build_forest(rows: Sequence[ForestRow]) -> dict[str, object]:
    """Return the chart of rows as ECharts takes it."""
    farthest = max((abs(end) for row in rows for end in (row.low, row.high)), default=1.0)
    extent = _round_up(min(farthest, _MOST_PERCENT))
    return {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 8, "bottom": 8, "containLabel": True},
        "xAxis": {
            "type": "value",
            "min": -extent,
            "max": extent,
            "axisLabel": {"color": TEXT, "formatter": "{value} %", "hideOverlap": True},
            "splitLine": {"lineStyle": {"color": GRID}},
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [row.name for row in rows],
            "axisLabel": {"color": TEXT, "width": 210, "overflow": "truncate"},
            "axisTick": {"show": False},
        },
        "series": [
            *(_draw_interval(row, place, extent) for place, row in enumerate(rows)),
            _draw_values(rows, extent),
        ],
    }


def _draw_interval(row: ForestRow, place: int, extent: float) -> dict[str, object]:
    ends = [[max(-extent, min(extent, end)), place] for end in (row.low, row.high)]
    return {
        "type": "line",
        "data": ends,
        "symbol": "none",
        "silent": True,
        "lineStyle": {"color": _COLOURS[row.direction], "width": 3},
    }


def _draw_values(rows: Sequence[ForestRow], extent: float) -> dict[str, object]:
    data: list[dict[str, object]] = []
    for place, row in enumerate(rows):
        symbol, rotation = _SYMBOLS[row.direction]
        data.append(
            {
                "value": [max(-extent, min(extent, row.value)), place],
                "symbol": symbol,
                "symbolRotate": rotation,
                "symbolSize": 11,
                "itemStyle": {"color": _COLOURS[row.direction]},
            }
        )
    return {
        "type": "scatter",
        "data": data,
        "silent": True,
        "markLine": {
            "silent": True,
            "symbol": "none",
            "lineStyle": {"color": TEXT, "type": "dashed"},
            "label": {"show": False},
            "data": [{"xAxis": 0}],
        },
    }


def _round_up(percent: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, 100."""
    steps = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, _MOST_PERCENT)
    return next(step for step in steps if step >= min(percent, _MOST_PERCENT))
