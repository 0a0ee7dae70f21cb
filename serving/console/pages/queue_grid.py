"""The grid of the queue: its columns, and how it is set up."""

from __future__ import annotations

from typing import Any

from serving.console.pages.queue_views import Columns
from serving.console.visit import Visit

PAGE_ROWS = 100
_COLUMNS = (
    ("title", 184, "title"),
    ("now", 74, None),
    ("new", 74, None),
    ("change", 86, "change"),
    ("margin", 108, None),
    ("units", 96, None),
    ("profit", 196, "gain"),
    ("proof", 64, None),
    ("why", 128, None),
    ("waits", 104, "waits"),
    ("status", 110, None),
    ("category", 200, "category"),
)
SORT_KEYS = {name: key for name, _, key in _COLUMNS if key is not None}
_NUMBERS = ("now", "new", "change", "margin", "units", "profit")
_HIDDEN = ("status", "category")


def build_options(visit: Visit, columns_kept: Columns) -> dict[str, Any]:
    """Return the options of the grid; `columns_kept` are order, widths and what is hidden."""
    texts = visit.texts
    kept = {column["colId"]: column for column in columns_kept}
    places = {name: place for place, name in enumerate(kept)}
    columns = sorted(_COLUMNS, key=lambda column: places.get(column[0], len(places)))
    definitions = []
    for name, width, sort_key in columns:
        known = kept.get(name, {})
        definition: dict[str, Any] = {
            "colId": name,
            "field": name,
            "headerName": texts.get(f"queue.column_{name}"),
            "width": known.get("width") or width,
            "hide": known.get("hide", name in _HIDDEN),
            "sortable": sort_key is not None,
            "tooltipField": name,
        }
        if name in _NUMBERS:
            definition["type"] = "rightAligned"
        if sort_key is not None and visit.parameters.get("sort") == sort_key:
            definition["sort"] = "desc" if visit.parameters.get("descending") else "asc"
        if name in ("profit", "change"):
            definition[":cellClass"] = "(params) => params.data?.tone ?? ''"
        definitions.append(definition)
    return {
        "columnDefs": definitions,
        "rowModelType": "infinite",
        "cacheBlockSize": PAGE_ROWS,
        "maxBlocksInCache": 20,
        "rowHeight": 34,
        "rowSelection": {"mode": "multiRow", "headerCheckbox": False},
        ":getRowId": "(params) => params.data.id",
        "suppressCellFocus": False,
        "enableCellTextSelection": True,
        "overlayNoRowsTemplate": texts.get("queue.title_none"),
        "localeText": {"loadingOoo": texts.get("frame.loading")},
    }
