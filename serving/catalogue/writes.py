"""Writes to the catalogue and the stock: rows like those of an import, from programs.

They go into the same tables by the same validator, so that every reader sees them at once. Of two
rows of one item the one with the later `updated_at` counts (see features.sources.newer_rows).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import NotFound
from features.contracts.near_names import find_near_names
from features.contracts.row_checks import CLOCK_SKEW
from features.contracts.tables import ATTRIBUTES, ITEMS, STOCK, ItemStatus, TableSchema
from features.facts.stored_columns import read_stored_columns
from features.sources.given_rows import (
    CheckedRows,
    RefusedRow,
    RowLimits,
    check_rows,
    dump_attributes,
)
from serving.database.audit_log import AuditEntry, AuditLog

if TYPE_CHECKING:
    from features.facts.facts import Facts

MAX_ROWS = 1_000
# Columns that say when, and not what: a row that differs in nothing else is the same.
_TIMES = ("updated_at", "stock_on_hand_at")
_MAX_NOTES = 20  # unknown columns that are looked at
_COMPARED = 5_000  # ids among which the nearest one is looked for
Row = Mapping[str, object]


@dataclass(frozen=True)
class ItemChange:
    """An item that was written, and the stored columns that differ from before."""

    item_id: str
    is_new: bool
    columns: tuple[str, ...]


@dataclass
class WriteResult:
    """What became of the rows of a call.

    changes   the items that are new or differ
    refused   rows by position, with the reason
    n_unchanged   rows that say what is stored already
    notes     what a caller should know and may not expect
    """

    changes: list[ItemChange] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    n_unchanged: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StockResult:
    """How many counts were new, replaced one of the same time, or were stored already."""

    n_new: int
    n_replaced: int
    n_unchanged: int
    refused: Sequence[RefusedRow]
    notes: Sequence[str]


@dataclass(frozen=True)
class CatalogueWriter:
    """Writes for one process; several processes may write at the same time.

    enter_prices   gives items without any price their list price, before they are seen
    read_prices    returns the current list prices of items, minor units of the shop's currency
    """

    settings: Settings
    clock: Clock
    system_clock: Clock
    enter_prices: Callable[[Sequence[Row]], None]
    read_prices: Callable[[Iterable[str]], Mapping[str, int]]

    def put(self, rows: Sequence[Mapping[str, object]]) -> WriteResult:
        """Store whole rows of the table `items`; a row replaces the one of the same id."""
        checked = self._check(rows)
        return self._write(rows, checked, merges=False)

    def patch(self, item_id: str, values: Mapping[str, object]) -> WriteResult:
        """Change some columns of an item; null empties one. Raises NotFound."""
        row = {**values, "item_id": item_id}
        return self._write([row], self._check([row]), merges=True)

    def archive(self, item_id: str) -> WriteResult:
        """Take an item off sale for good; its past keeps its name. Raises NotFound."""
        return self.patch(item_id, {"status": str(ItemStatus.ARCHIVED)})

    def find(self, item_id: str) -> dict[str, object]:
        """Return the stored row of an item. Raises NotFound."""
        folder = self.settings.home / "tables"
        rows = read_stored_columns(folder, ITEMS, ITEMS.arrow.names)
        matches = rows.filter(pc.equal(rows["item_id"], item_id)).to_pylist()
        if not matches:
            raise self._make_not_found(item_id)
        row: dict[str, object] = matches[0]
        return row

    def put_stock(self, rows: Sequence[Mapping[str, object]]) -> StockResult:
        """Store counts of the table `stock`; one without a time is of now."""
        now, facts = self.clock.now(), self._open_facts()
        dated = [row if row.get("at") else {**row, "at": now.isoformat()} for row in rows]
        limits = RowLimits(now + CLOCK_SKEW, facts.find_zone_rules())
        checked = check_rows(STOCK, dated, self.settings, limits)
        notes = _describe_near_columns(STOCK, rows)
        unknown = self._list_unknown(checked.good["item_id"].to_pylist())
        if unknown:
            notes.append(
                f"{len(unknown):,} items are not in the catalogue; their counts are kept: "
                f"{', '.join(unknown[:5])}"
            )
        if not checked.good.num_rows:
            return StockResult(0, 0, 0, checked.refused, notes)
        keys = checked.good["item_id"].unique().to_pylist()
        count = facts.edit(STOCK.name, keys, lambda _: checked.good)
        return StockResult(count.new, count.replaced, count.unchanged, checked.refused, notes)

    def record(
        self, connection: sa.Connection, actor: str, result: WriteResult | StockResult
    ) -> None:
        """Write to the audit log what a call has changed: each item, and counts together."""
        if isinstance(result, WriteResult):
            entries = [
                AuditEntry(
                    actor,
                    "create" if change.is_new else "change",
                    "item",
                    change.item_id,
                    {"columns": list(change.columns)},
                )
                for change in result.changes
            ]
        else:
            counts = {"new": result.n_new, "replaced": result.n_replaced}
            entries = [AuditEntry(actor, "count", "stock", "stock", counts)]
            entries = entries if any(counts.values()) else []
        AuditLog(connection).append(entries, self.system_clock.now())

    def _check(self, rows: Sequence[Mapping[str, object]]) -> CheckedRows:
        return check_rows(ITEMS, rows, self.settings, RowLimits(self.clock.now() + CLOCK_SKEW))

    def _write(
        self, rows: Sequence[Mapping[str, object]], checked: CheckedRows, *, merges: bool
    ) -> WriteResult:
        """Store the good rows that are not older than the stored ones."""
        result = WriteResult(
            refused=list(checked.refused),
            notes=_describe_near_columns(ITEMS, rows),
        )
        good = checked.good.to_pylist()
        if not good:
            return result
        batch = _Batch(self.clock.now(), merges, result)
        # Rows that say the same as a later one of the call.
        result.n_unchanged = len(rows) - len(good) - len(checked.refused)

        def change(stored: Mapping[str, Row]) -> pa.Table:
            for index, row in zip(checked.indexes, good, strict=True):
                before = stored.get(row["item_id"])
                if before is None and merges:
                    raise self._make_not_found(row["item_id"])
                batch.add(index, rows[index], row, before)
            return pa.Table.from_pylist(batch.rows, ITEMS.arrow)

        facts = self._open_facts(lambda _: self.enter_prices(batch.rows))
        facts.edit(ITEMS.name, [row["item_id"] for row in good], change)
        result.refused.sort(key=lambda row: row.index)
        if any("list_price" in row for row in rows):
            result.notes += self._compare_prices(batch.rows)
        return result

    def _compare_prices(self, rows: Sequence[Row]) -> list[str]:
        """Return a note where the ledger, from which prices are served, says another list price."""
        listed = {str(row["item_id"]): row["list_price_minor"] for row in rows}
        current = self.read_prices(listed)
        others = [
            item_id
            for item_id, price in listed.items()
            if price is not None and current.get(item_id, price) != price
        ]
        if not others:
            return []
        note = (
            f"list_price of {len(others):,} items differs from the price ledger, from which prices "
            f"are served ({', '.join(others[:5])}): import price_history, or use the price desk"
        )
        return [note]

    def _list_unknown(self, item_ids: Sequence[str]) -> list[str]:
        known = set(self._read_ids())
        return [item_id for item_id in dict.fromkeys(item_ids) if item_id not in known]

    def _make_not_found(self, item_id: str) -> NotFound:
        near = find_near_names(item_id, self._read_ids()[:_COMPARED])
        hint = f"Did you mean {near[0]!r}?" if near else "PUT /v1/items/{item_id} makes it"
        return NotFound(f"the catalogue has no item {item_id!r}", where="item_id", hint=hint)

    def _read_ids(self) -> list[str]:
        rows = read_stored_columns(self.settings.home / "tables", ITEMS, ("item_id",))
        ids: list[str] = rows["item_id"].to_pylist()
        return ids

    def _open_facts(self, before_publish: Callable[[Facts], None] | None = None) -> Facts:
        from features.facts.facts import Facts

        return Facts(self.settings, before_publish=before_publish)


@dataclass
class _Batch:
    """The rows of one call as they will be stored; what became of each goes into `result`.

    merges   whether a row changes the columns that it gives alone
    """

    now: datetime
    merges: bool
    result: WriteResult
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, index: int, given: Row, row: dict[str, object], before: Row | None) -> None:
        """Complete a checked row, and store it unless it says nothing new or is outdated."""
        if self.merges and before is not None:
            row = _merge(given, row, before)
        elif "available_from" not in given:
            # What a program brings is new from now on, and stays so when it is sent again.
            row["available_from"] = self.now if before is None else before["available_from"]
        row["updated_at"] = row["updated_at"] if given.get("updated_at") else self.now
        states_stock = given.get("stock_on_hand") is not None
        if states_stock and not given.get("stock_on_hand_at"):
            row["stock_on_hand_at"] = row["updated_at"]
        if (fault := _find_fault(index, row, before)) is not None:
            self.result.refused.append(fault)
            return
        columns = _list_differences(row, before)
        if columns:
            change = ItemChange(str(row["item_id"]), before is None, columns)
            self.result.changes.append(change)
        else:
            self.result.n_unchanged += 1
        if columns or states_stock:  # the same number, counted anew, is newer than other counts
            self.rows.append(row)


def _merge(given: Row, row: Row, before: Row) -> dict[str, object]:
    """Return the stored row with what was given; attributes one by one."""
    columns = {column.name: column.stored_name for column in ITEMS.columns}
    changed = {columns[name]: row[columns[name]] for name in given if name in columns}
    attributes = json.loads(str(before[ATTRIBUTES] or "{}"))
    attributes |= {name: value for name, value in given.items() if name not in columns}
    return {**before, **changed, ATTRIBUTES: dump_attributes(attributes)}


def _find_fault(index: int, row: Row, before: Row | None) -> RefusedRow | None:
    """Return why a completed row cannot be stored; None where it can."""
    first, last = row["available_from"], row["available_to"]
    if isinstance(first, datetime) and isinstance(last, datetime) and last <= first:
        return RefusedRow(index, "available_to is not after available_from")
    known_at, updated_at = before and before["updated_at"], row["updated_at"]
    if not isinstance(known_at, datetime) or not isinstance(updated_at, datetime):
        return None
    if updated_at >= known_at:
        return None
    reason = f"updated_at is older than that of the stored row, {known_at.isoformat()}"
    return RefusedRow(index, reason, is_outdated=True)


def _list_differences(row: Row, before: Row | None) -> tuple[str, ...]:
    """Return the columns that say something else than the stored row; all of a new one."""
    if before is None:
        return tuple(name for name, value in row.items() if value is not None)
    return tuple(
        name for name, value in row.items() if name not in _TIMES and value != before[name]
    )


def _describe_near_columns(schema: TableSchema, rows: Sequence[Row]) -> list[str]:
    """Return a note for each unknown column that may have been meant to be one of the table."""
    known = {column.name for column in schema.columns} | set(schema.used_attributes)
    beside: dict[str, set[str]] = {}  # the columns of the rows that have the name
    for row in rows:
        for name in row.keys() - known:
            beside.setdefault(name, set()).update(row)
    notes = []
    for name in sorted(beside)[:_MAX_NOTES]:
        near = find_near_names(name, known - beside[name])
        if near:
            notes.append(f"{name} is kept as an attribute; is it {' or '.join(near)}?")
    return notes
