"""Files for spreadsheets: what is written is what is read, and nothing of it is a formula."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput
from serving.spreadsheets import Sheet, parse_format, write_sheet

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
AT = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
# What XML can hold; carriage returns are line ends there.
TEXTS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")) | st.sampled_from("\t\n"),
    max_size=20,
)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


def read_xlsx(path: Path) -> list[list[object]]:
    sheet = openpyxl.load_workbook(path).active
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def test_money_numbers_and_times_are_what_they_were(tmp_path):
    rows = [["葡萄", Decimal("4.93"), 0.0929, 3, AT, None]]
    sheet = Sheet(("title", "price", "change", "weeks", "at", "none"), rows)
    assert write_sheet(sheet, tmp_path / "a.csv", "csv") == 1
    assert write_sheet(sheet, tmp_path / "a.xlsx", "xlsx") == 1
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    names = list(sheet.columns)
    expected = ["葡萄", "4.93", "0.0929", "3", "2026-03-01T06:30:00Z", ""]
    assert read_csv(tmp_path / "a.csv") == [names, expected]
    (header, row) = read_xlsx(tmp_path / "a.xlsx")
    assert header == names
    assert row == ["葡萄", 4.93, 0.0929, 3, datetime(2026, 3, 1, 6, 30), None]  # noqa: DTZ001


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(TEXTS, st.sampled_from(("", *FORMULA_SIGNS[:4], *FORMULA_SIGNS[7:])))
def test_no_text_is_a_formula_and_none_is_lost(tmp_path, text, sign):
    written = sign + text
    sheet = Sheet(("text",), [[written]])
    for sheet_format, read in (("csv", read_csv), ("xlsx", read_xlsx)):
        path = tmp_path / f"a.{sheet_format}"
        write_sheet(sheet, path, sheet_format)
        ((_,), (cell,)) = read(path)
        cell = cell or ""
        assert not cell.startswith(FORMULA_SIGNS)
        expected = f"'{written}" if written.startswith(FORMULA_SIGNS) else written
        assert cell.replace("\r\n", "\n") == expected
    formulas = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert formulas["A2"].data_type in ("s", "n")  # n: an empty cell


def test_rows_are_read_while_they_are_written(tmp_path):
    read = []

    def rows():
        for number in range(3):
            read.append(number)
            yield [number]

    for sheet_format in ("csv", "xlsx"):
        assert write_sheet(Sheet(("n",), rows()), tmp_path / "a", sheet_format) == 3
    assert read == [0, 1, 2, 0, 1, 2]
    assert write_sheet(Sheet(("n",), []), tmp_path / "empty.xlsx", "xlsx") == 0
    assert read_xlsx(tmp_path / "empty.xlsx") == [["n"]]


def test_a_file_that_a_spreadsheet_does_not_know_is_refused():
    assert parse_format(Path("a/Queue.XLSX")) == "xlsx"
    with pytest.raises(BadInput, match=r"must end in \.csv or \.xlsx"):
        parse_format(Path("queue.ods"))
