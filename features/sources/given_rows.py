"""Rows of a table as a program gives them, checked and stored like those of a file.

The validator is that of files: the values become texts first. What differs, because JSON does: a
text column takes texts alone, and names of columns must match exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from configs.settings import Settings
from features.contracts.row_checks import (
    Fault,
    ZoneRules,
    find_attribute_faults,
    is_storable,
    text_not_storable,
)
from features.contracts.tables import ATTRIBUTES, Column, Kind, TableSchema
from features.contracts.texts import clean_text

_MAX_NAME = 200  # characters of the name of an attribute
_POSITION = "position"


@dataclass(frozen=True)
class RefusedRow:
    """A row that was not taken: its position among the given rows, and why; `is_outdated` where a
    newer one is stored."""

    index: int
    reason: str
    is_outdated: bool = False


@dataclass(frozen=True)
class CheckedRows:
    """The good rows in stored schema, keys distinct, with their positions, and the bad ones."""

    good: pa.Table
    indexes: tuple[int, ...]
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True)
class RowLimits:
    """What rows are checked against: the latest time of an observation, and the known zones."""

    latest: datetime
    zones: ZoneRules | None = None


def check_rows(
    schema: TableSchema,
    rows: Sequence[Mapping[str, object]],
    settings: Settings,
    limits: RowLimits,
) -> CheckedRows:
    """Check rows that programs give; of two rows of one key the last one counts.

    Money comes in major units. Names that are no columns are kept as attributes, as text.
    """
    columns = {column.name: column for column in schema.columns}
    given = {name for row in rows for name in row}
    names = [column.name for column in schema.columns if column.required or column.name in given]
    refused: dict[int, str] = {}
    texts: list[dict[str, str | None]] = []
    attributes: dict[int, str | None] = {}
    for index, row in enumerate(rows):
        extras = {name: value for name, value in row.items() if name not in columns}
        faults = [*_find_type_faults(columns, row), *_find_extra_faults(extras)]
        if faults:
            refused[index] = "; ".join(fault.reason for fault in faults)
            continue
        values = {name: _as_text(row.get(name)) for name in names}
        texts.append({**values, _POSITION: str(index)})
        attributes[index] = dump_attributes(extras)
    good, bad = _validate(schema, names, texts, settings, limits)
    refused |= bad
    # What came through the validator as the only attribute is the position.
    indexes = [int(json.loads(text)[_POSITION]) for text in good[ATTRIBUTES].to_pylist()]
    values = pa.array([attributes[index] for index in indexes], pa.string())
    good = good.set_column(schema.arrow.get_field_index(ATTRIBUTES), ATTRIBUTES, values)
    return CheckedRows(
        good=good,
        indexes=tuple(indexes),
        refused=tuple(RefusedRow(index, refused[index]) for index in sorted(refused)),
    )


def dump_attributes(values: Mapping[str, object]) -> str | None:
    """Return attributes as an import stores them: texts as JSON, None without any."""
    texts = {name: text for name, value in values.items() if (text := _as_text(value)) is not None}
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")) if texts else None


def _validate(
    schema: TableSchema,
    names: Sequence[str],
    texts: Sequence[Mapping[str, str | None]],
    settings: Settings,
    limits: RowLimits,
) -> tuple[pa.Table, dict[int, str]]:
    """Return the good rows, with their positions as attributes, and the reasons of the others."""
    # Here, because a server that answers slates alone loads no analytical database.
    from features.sources.duckdb_sessions import open_duck
    from features.sources.raw import FILE, ROW
    from features.sources.validation import validate

    # The position goes through the validator as the only extra column.
    present = [*names, _POSITION]
    fields = [pa.field(FILE, pa.string()), pa.field(ROW, pa.int64())]
    fields += [pa.field(name, pa.string()) for name in present]
    rows = [{**text, FILE: "", ROW: int(text[_POSITION] or 0)} for text in texts]
    raw = pa.Table.from_pylist(rows, pa.schema(fields))
    with open_duck(settings.home / "spill") as duck:
        duck.register("given", raw)
        duck.execute("CREATE TEMP TABLE raw AS SELECT * FROM given")
        checked = validate(
            duck,
            schema,
            present,
            settings,
            latest=limits.latest,
            zones=limits.zones,
        )
    bad = zip(checked.bad["row"].to_pylist(), checked.bad["reasons"].to_pylist(), strict=True)
    return checked.good, dict(bad)


def _find_type_faults(columns: Mapping[str, Column], row: Mapping[str, object]) -> list[Fault]:
    """Return the values that no text of a file could stand for."""
    faults = []
    for name, value in row.items():
        column = columns.get(name)
        if column is None or value is None:
            continue
        if isinstance(value, str):
            if not is_storable(value):
                faults.append(text_not_storable(column))
        elif column.kind is Kind.TEXT:
            faults.append(Fault(name, "is no text"))
        elif not isinstance(value, bool | int | float):
            faults.append(Fault(name, "is a list or an object"))
    return faults


def _find_extra_faults(extras: Mapping[str, object]) -> list[Fault]:
    faults = []
    for name, value in extras.items():
        if not is_storable(name) or clean_text(name) != name or len(name) > _MAX_NAME:
            faults.append(Fault(ATTRIBUTES, "have a name that cannot be kept"))
        elif isinstance(value, list | dict):
            faults.append(Fault(name, "is a list or an object; an attribute is one value"))
    return faults or find_attribute_faults({name: value for name, value in extras.items() if value})


def _as_text(value: object) -> str | None:
    """Return a value of JSON as a file would write it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return clean_text(str(value))
