"""Tables for people, as CSV and XLSX files that a spreadsheet opens as they are.

Texts that begin like a formula are made plain texts; CSV begins with a mark by which spreadsheets
know that it is UTF-8. Files for machines stand elsewhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from features.contracts.errors import BadInput
from features.contracts.texts import defuse_cell

Cell = str | int | float | Decimal | datetime | None
SheetFormat = Literal["csv", "xlsx"]
MEDIA_TYPES: dict[SheetFormat, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# A worksheet has 1,048,576 rows at most, the first of which holds the names.
MAX_XLSX_ROWS = 1_048_575
_MAX_CELL = 32_767
_WIDTH = 16


@dataclass(frozen=True)
class Sheet:
    """Names of columns, and rows with as many cells; rows may be read while they are written.

    Money is Decimal, times are aware.
    """

    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]


def parse_format(path: Path) -> SheetFormat:
    """Return the format of a file by its ending. Raises BadInput for any other ending."""
    ending = path.suffix.lower().removeprefix(".")
    if ending == "csv":
        return "csv"
    if ending == "xlsx":
        return "xlsx"
    raise BadInput("the file must end in .csv or .xlsx", where=str(path))


def write_sheet(sheet: Sheet, path: Path, sheet_format: SheetFormat) -> int:
    """Write a table to a file and return its number of rows."""
    return _write_csv(sheet, path) if sheet_format == "csv" else _write_xlsx(sheet, path)


def _write_csv(sheet: Sheet, path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(sheet.columns)
        for row in sheet.rows:
            writer.writerow(map(_to_text, row))
            count += 1
    return count


def _to_text(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return defuse_cell(cell)
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return cell


def _write_xlsx(sheet: Sheet, path: Path) -> int:
    """Write row by row: the whole table is never in memory."""
    from xlsxwriter import Workbook

    count = 0
    with Workbook(str(path), {"constant_memory": True}) as workbook:
        bold = workbook.add_format({"bold": True})
        time_format = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        worksheet = workbook.add_worksheet()
        worksheet.freeze_panes(1, 0)
        worksheet.set_column(0, len(sheet.columns) - 1, _WIDTH)
        for column, name in enumerate(sheet.columns):
            worksheet.write_string(0, column, name, bold)
        for count, row in enumerate(sheet.rows, start=1):
            if count > MAX_XLSX_ROWS:
                raise BadInput(
                    f"an XLSX file holds {MAX_XLSX_ROWS:,} rows at most", hint="Use CSV, or filter"
                )
            for column, cell in enumerate(row):
                if isinstance(cell, datetime):
                    # A worksheet knows no zone: all times are UTC.
                    plain = cell.astimezone(UTC).replace(tzinfo=None)
                    worksheet.write_datetime(count, column, plain, time_format)
                elif isinstance(cell, str):
                    worksheet.write_string(count, column, defuse_cell(cell)[:_MAX_CELL])
                elif cell is not None:
                    worksheet.write_number(count, column, cell)
        worksheet.autofilter(0, 0, count, len(sheet.columns) - 1)
    return count
