"""Reads CSV and XLSX files that people filled in, as spreadsheets write them in any country.

Every value is kept as the text that it was, with the number of its row, so that what is wrong can
be shown where it stands. What could mean two things is refused, never guessed.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO
from xml.parsers.expat import ExpatError, ParserCreate

from features.contracts.errors import BadInput
from features.contracts.money import currency_of_symbol, minor_digits

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 100_000
MAX_COLUMNS = 200
MAX_CELL = 4_000
# Of an XLSX file, unpacked: a zip of a few bytes may hold gigabytes.
_MAX_UNPACKED_BYTES = 256 * 1024 * 1024
_MAX_PARTS = 1_000
_LAST_ROW = 1_048_576  # of a worksheet
_CHUNK_BYTES = 64 * 1024
_LONGEST_AMOUNT = 64
_DELIMITERS = (";", "\t", ",")
_FORMULA = re.compile(r"^'[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[\d.,\u0020\u00a0\u202f\u2009']+")
_SPACES = re.compile(r"[\u0020\u00a0\u202f\u2009']")
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE][+]\d+")


@dataclass(frozen=True)
class SheetRow:
    """A row by the names of its columns; `number` is that of the spreadsheet, the names' is 1."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class FilledSheet:
    """The rows of a file that are not empty.

    decimal_mark   the mark that the file's country writes: "," where columns are parted by ";";
                   None in XLSX, whose numbers are numbers
    """

    columns: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    decimal_mark: str | None


def read_sheet(content: bytes) -> FilledSheet:
    """Return the rows of a CSV or XLSX file, told apart by their first bytes.

    Raises BadInput for a file that is too large, damaged, of another kind, or in no known encoding.
    """
    if len(content) > MAX_BYTES:
        raise BadInput(
            f"the file has more than {MAX_BYTES // 1024**2} MiB", hint="Split it, or send CSV"
        )
    if content.startswith(b"PK\x03\x04"):
        return _collect(_read_xlsx(content), None)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadInput("this is an old .xls file", hint="Save it as .xlsx or CSV")
    text = _decode(content)
    delimiter = _find_delimiter(text)
    mark = "," if delimiter == ";" else "."
    return _collect(_read_csv(text, delimiter), mark)


def clean_id(text: str) -> str:
    """Return an id of a cell. Raises BadInput for one that a spreadsheet made a number of."""
    cleaned = text[1:] if _FORMULA.match(text) else text
    if _SCIENTIFIC.fullmatch(cleaned):
        raise BadInput(
            f"{cleaned!r} is an id that a spreadsheet rounded",
            hint="Format the column as text, then enter the id again",
        )
    return cleaned


def parse_sheet_amount(text: str, currency: str, decimal_mark: str | None) -> str:
    """Return an amount of a cell as a decimal with a point.

    Grouping needs a second mark or a blank: of 1,234 nobody knows whether it is a thousand. Only in
    a currency with three digits after the mark the file's own mark decides. Raises BadInput.

    >>> parse_sheet_amount("1.234,50 €", "EUR", ","), parse_sheet_amount("1,99", "EUR", ".")
    ('1234.50', '1.99')
    """
    if len(text) > _LONGEST_AMOUNT:
        raise _refuse_amount(f"{text[:_LONGEST_AMOUNT]}...")
    number = _strip_currency(text.strip(), currency)
    if not _NUMBER.fullmatch(number) or not any(letter.isdigit() for letter in number):
        raise BadInput(f"{text!r} is no amount of money", hint="Write a number such as 1.99")
    plain = _SPACES.sub("", number)
    marks = [letter for letter in plain if letter in ".,"]
    if not marks:
        return plain
    last = marks[-1]
    whole, _, fraction = plain.rpartition(last)
    if len(set(marks)) == 2:
        other = "," if last == "." else "."
        if marks.count(last) > 1 or not _is_grouped(whole, other):
            raise _refuse_amount(text)
        return whole.replace(other, "") + "." + fraction
    if len(marks) > 1:
        if not _is_grouped(plain, last):
            raise _refuse_amount(text)
        return plain.replace(last, "")
    if len(fraction) == 3 and whole.lstrip("+-") not in ("", "0"):
        is_number = decimal_mark is None and last == "."
        is_own_mark = decimal_mark == last and minor_digits(currency) == 3
        if not (is_number or is_own_mark):
            raise BadInput(
                f"{text} may be {whole}.{fraction} or {whole}{fraction}",
                hint=f"Write {whole}{fraction} or {whole}.{fraction[:2]} without other marks",
            )
    return f"{whole or '0'}.{fraction}" if fraction else whole


def _refuse_amount(text: str) -> BadInput:
    return BadInput(f"{text!r} is no amount of money", hint="Write a number such as 1234.50")


def _is_grouped(text: str, mark: str) -> bool:
    return re.fullmatch(rf"[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+", text) is not None


def _strip_currency(text: str, currency: str) -> str:
    """Return an amount without the currency before or behind it. Raises BadInput for another."""
    found = re.fullmatch(r"([^\d.,+-]*)([+-]?[\d.,].*?)([^\d.,]*)", text)
    if found is None:
        return text
    before, number, behind = (_SPACES.sub("", part) for part in found.groups())
    for symbol in (before, behind):
        if symbol and currency_of_symbol(symbol) != currency:
            raise BadInput(f"{text!r} is no amount in {currency}", hint="Write the number alone")
    return number


def _decode(content: bytes) -> str:
    """Return the text of a CSV file. Raises BadInput for an encoding that nobody can know."""
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding = "utf-16" if is_utf16 else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(
            "the file is no UTF-8", where=f"row {line}", hint='Save it as "CSV UTF-8" or XLSX'
        ) from error
    if "\x00" in text:
        raise BadInput("the file is no text", hint="Send CSV or XLSX")
    return text


def _find_delimiter(text: str) -> str:
    """Return what parts the names of the columns: the mark that the first row has most of.

    Raises BadInput where two could be meant.
    """
    first = text.lstrip("\r\n").splitlines()[:1]
    line = re.sub(r'"[^"]*"', "", first[0]) if first else ""
    if line.lower().startswith("sep=") and len(line) == 5:
        raise BadInput("the first row names a separator", where="row 1", hint="Remove the row")
    counts = {mark: line.count(mark) for mark in _DELIMITERS}
    used = [mark for mark, count in counts.items() if count]
    if len(used) > 1:
        raise BadInput(
            f"the columns are parted by {' or '.join(map(repr, used))}",
            where="row 1",
            hint="Use one mark, and none of them in the names of columns",
        )
    return used[0] if used else ","


def _read_csv(text: str, delimiter: str) -> Iterator[tuple[int, Sequence[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = 0
    try:
        for cells in reader:
            yield before + 1, cells
            before = reader.line_num
    except csv.Error as error:
        raise BadInput(
            f"the file is no CSV: {error}", where=f"row {before + 1}", hint="Look at the quotes"
        ) from error


def _read_xlsx(content: bytes) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of the first worksheet. Raises BadInput for a file that is none."""
    from openpyxl import load_workbook

    _check_zip(content)
    try:
        workbook = load_workbook(
            io.BytesIO(content), read_only=True, data_only=True, keep_links=False
        )
        worksheet = workbook.worksheets[0]
        worksheet.reset_dimensions()  # as long as its rows are, whatever it says of itself
        width = 0
        for number, cells in enumerate(worksheet.iter_rows(values_only=True), start=1):
            if number > _LAST_ROW:
                raise BadInput("the worksheet has more rows than a worksheet can have")
            if not cells:  # a row that the file leaves out
                continue
            texts = [_to_text(cell) for cell in cells[: MAX_COLUMNS + 1]]
            width = width or len(texts)  # of the names: a file leaves out what is empty at the end
            yield number, texts + [""] * (width - len(texts))
    except BadInput:
        raise
    except Exception as error:  # the library raises whatever a damaged part makes it stumble over
        raise BadInput(
            "the XLSX file cannot be read", hint="Open it and save it again, or save it as CSV"
        ) from error


def _check_zip(content: bytes) -> None:
    """Raise BadInput for a zip that unpacks to too much, or whose XML declares entities."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            unpacked = sum(part.file_size for part in parts)
            if len(parts) > _MAX_PARTS or unpacked > _MAX_UNPACKED_BYTES:
                raise BadInput("the XLSX file unpacks to too much", hint="Split it, or send CSV")
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with archive.open(part) as stream:
                        if _declares_type(stream):
                            raise BadInput("the XLSX file declares a document type")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ExpatError) as error:
        raise BadInput("the XLSX file is damaged", hint="Save it again") from error


def _declares_type(stream: IO[bytes]) -> bool:
    """Return whether a document type stands before the first element of an XML file."""
    seen: list[bool] = []
    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *_: seen.append(True)
    parser.StartElementHandler = lambda *_: seen.append(False)
    while not seen and (chunk := stream.read(_CHUNK_BYTES)):
        parser.Parse(chunk, False)
    return bool(seen) and seen[0]


def _to_text(cell: object) -> str:
    """Return a cell of a worksheet as text; numbers as people would write them."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        # A spreadsheet holds 1.99 as 1.9899999999999998.
        return format(Decimal(repr(round(cell, 9))).normalize(), "f")
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=UTC).isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell)


def _collect(rows: Iterable[tuple[int, Sequence[str]]], mark: str | None) -> FilledSheet:
    columns: tuple[str, ...] = ()
    filled: list[SheetRow] = []
    for number, given in rows:
        cells = [cell.strip() for cell in given]
        if not any(cells):
            continue
        where = f"row {number}"
        if len(cells) > MAX_COLUMNS:
            raise BadInput(f"there are more than {MAX_COLUMNS} columns", where=where)
        if not columns:
            columns = _read_names(cells, where)
            continue
        if any(cells[len(columns) :]):
            raise BadInput(
                f"the row has more cells than the {len(columns)} columns",
                where=where,
                hint="Put texts that contain the separator into quotes",
            )
        long = next((i for i, cell in enumerate(cells) if len(cell) > MAX_CELL), None)
        if long is not None:
            raise BadInput(
                f"a cell has more than {MAX_CELL:,} characters",
                where=f"{where}, column {columns[long]}",
            )
        filled.append(SheetRow(number, dict(zip(columns, cells, strict=False))))
        if len(filled) > MAX_ROWS:
            raise BadInput(f"the file has more than {MAX_ROWS:,} rows", hint="Split it")
    if not columns:
        raise BadInput("the file is empty", hint="Its first row names the columns")
    return FilledSheet(columns, tuple(filled), mark)


def _read_names(cells: Sequence[str], where: str) -> tuple[str, ...]:
    names = [re.sub(r"[\s-]+", "_", cell.lower()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"two columns are called {twice!r}", where=where)
    return tuple(name or f"column_{i}" for i, name in enumerate(names, start=1))
