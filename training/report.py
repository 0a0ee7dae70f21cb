"""An evaluation as one HTML file: tables, plots, data. Images are embedded; nothing is fetched."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.results import OURS, Cell, Evaluation, MetricTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTIONS = {
    "ndcg_by_depth": "NDCG at each depth of the slate",
    "recall_by_depth": "Recall at each depth of the slate",
    "by_activity": "By activity of the user, with 95 % intervals",
    "by_items": "By relevant item, with 95 % intervals",
    "coverage_and_ndcg": "How much of the catalogue is shown, against how well it predicts",
}


def render_html(evaluation: Evaluation) -> str:
    """Return the report of one evaluation. Every name and note is escaped."""
    environment = Environment(
        loader=PackageLoader("training", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "value": _format_value,
        "interval": _format_interval,
        "p_value": _format_p_value,
    }
    images = [
        (name, _CAPTIONS.get(name, name.replace("_", " ")), _encode_png(figure))
        for name, figure in evaluation.figures.items()
    ]
    metrics = {name: value for name, value in evaluation.metrics.items() if not math.isnan(value)}
    return environment.get_template("report.html.j2").render(
        evaluation=evaluation,
        images=images,
        metrics=metrics,
        ours=OURS,
        bar=_draw_bar,
        tables=[_drop_empty_columns(table) for table in evaluation.tables],
    )


def _drop_empty_columns(table: MetricTable) -> MetricTable:
    """Return the table without the columns in which no method has a value."""
    columns = [
        number
        for number in range(len(table.columns))
        if not all(math.isnan(cells[number].value) for cells in table.rows.values())
    ]
    return replace(
        table,
        columns=tuple(table.columns[number] for number in columns),
        rows={
            name: tuple(cells[number] for number in columns) for name, cells in table.rows.items()
        },
        n_users=tuple(table.n_users[number] for number in columns),
    )


def _draw_bar(value: float, beside: Iterable[float]) -> str:
    """Return the style of a cell with a bar as long as its value among those of its column."""
    longest = max((abs(other) for other in beside if not math.isnan(other)), default=0.0)
    share = 0.0 if math.isnan(value) or not longest else abs(value) / longest
    return f"background-size: {share:.1%} 4px"


def _encode_png(figure: Figure) -> str:
    """Return a figure as a data URI.

    The version of matplotlib is left out, so that the same figure gives the same text.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _format_value(value: float | None) -> str:
    """Return four digits after the point; a dash without a value."""
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _format_interval(cell: Cell) -> str:
    known = cell.low is not None and cell.high is not None and not math.isnan(cell.low)
    return f"{cell.low:.4f} to {cell.high:.4f}" if known else ""


def _format_p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "p < .0001" if value < 1e-4 else f"p = {value:.2g}"
