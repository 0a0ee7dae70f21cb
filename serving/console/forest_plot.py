"""A forest plot: values with their intervals, one below the other."""

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
PERCENT = " %"
_MOST_PERCENT = 100.0
_ROW_HEIGHT = 34


@dataclass(frozen=True)
class ForestRow:
    """A value with its interval: a difference in percent of the control, or an elasticity."""

    name: str
    value: float
    low: float
    high: float
    direction: Direction = "unclear"


def show_forest(name: str, rows: Sequence[ForestRow], *, unit: str = PERCENT) -> Chart:
    """Show rows around a line at 0; an interval beyond _MOST_PERCENT goes to the edge."""
    chart = Chart(build_forest(rows, unit), renderer="svg").classes("chart")
    chart.style(f"height: {_ROW_HEIGHT * len(rows) + 40}px")
    name_element(chart.props("role=img"), name)
    return chart


def build_forest(rows: Sequence[ForestRow], unit: str = PERCENT) -> dict[str, object]:
    """Return the chart of rows as ECharts takes it; the unit stands behind each number."""
    lowest, highest = _find_ends(rows, both_sides=unit == PERCENT)
    return {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 8, "bottom": 8, "containLabel": True},
        "xAxis": {
            "type": "value",
            "min": lowest,
            "max": highest,
            "axisLabel": {"color": TEXT, "formatter": f"{{value}}{unit}", "hideOverlap": True},
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
            *(_draw_interval(row, place, lowest, highest) for place, row in enumerate(rows)),
            _draw_values(rows, lowest, highest),
        ],
    }


def _draw_interval(row: ForestRow, place: int, lowest: float, highest: float) -> dict[str, object]:
    ends = [[max(lowest, min(highest, end)), place] for end in (row.low, row.high)]
    return {
        "type": "line",
        "data": ends,
        "symbol": "none",
        "silent": True,
        "lineStyle": {"color": _COLOURS[row.direction], "width": 3},
    }


def _draw_values(rows: Sequence[ForestRow], lowest: float, highest: float) -> dict[str, object]:
    data: list[dict[str, object]] = []
    for place, row in enumerate(rows):
        symbol, rotation = _SYMBOLS[row.direction]
        data.append(
            {
                "value": [max(lowest, min(highest, row.value)), place],
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


def _find_ends(rows: Sequence[ForestRow], *, both_sides: bool) -> tuple[float, float]:
    """Return the ends of the axis: as far on both sides of 0, or without a side that has no row."""
    below = max((-row.low for row in rows), default=1.0)
    above = max((row.high for row in rows), default=1.0)
    if both_sides:
        below = above = max(below, above)
    return (
        -_round_up(min(below, _MOST_PERCENT)) if below > 0 else 0.0,
        _round_up(min(above, _MOST_PERCENT)) if above > 0 else 0.0,
    )


def _round_up(percent: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, 100."""
    steps = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, _MOST_PERCENT)
    return next(step for step in steps if step >= min(percent, _MOST_PERCENT))
