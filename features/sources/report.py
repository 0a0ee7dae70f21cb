"""The report of an import: the rows read, kept and left out, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from configs.settings import Settings
from features.contracts.row_checks import ZoneRules
from features.sources.advice import BadValue


@dataclass(frozen=True)
class WriteCount:
    """Rows that were new, rows that replaced an earlier one under the same key, rows that were
    there already; and rows of erased people, which were left out."""

    new: int
    replaced: int
    unchanged: int
    erased: int = 0


# The rule by which rows are excluded that name somebody who was erased.
OF_ERASED = "of people who were erased"


class FactStore(Protocol):
    """The store of the rows of an import."""

    def is_empty(self, table: str) -> bool:
        """Return whether `table` holds no row yet."""
        ...

    def knows_events(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an imported event has it."""
        ...

    def is_erased(self, kind: str, text: str) -> bool:
        """Return whether the id of a user, visitor or session is that of an erased person."""
        ...

    def find_zone_rules(self, priced: Iterable[str]) -> ZoneRules:
        """Return the zones that rows may name: those known, and `priced`."""
        ...

    def read_columns(self, table: str, names: Sequence[str]) -> pa.Table:
        """Return columns of the rows of `table`, in stored types."""
        ...

    def write(
        self, tables: Mapping[str, pa.Table], unknown_zones: Iterable[str] = ()
    ) -> dict[str, WriteCount]:
        """Add rows in stored schema to several tables in one step.

        `unknown_zones` are those whose rows with amounts became rows of the default zone.
        """
        ...


@dataclass
class TableReport:
    """What became of the rows of one table.

    duplicates             rows that say again what another row of the import says
    excluded               rows out of scope, by the rule of the source
    quarantined            rows that failed validation, by reason; a row may have several reasons
    examples               the first row of each of these reasons
    n_bad                  rows that failed validation
    attributes             columns that the table does not know, kept as attributes
    near_columns           the columns that those which nothing reads may have been meant to be
    n_unknown_zones        rows of a zone that nobody knows, which became the default zone by
                           setting
    rounded                rows whose amount moved by more than half a percent when it was rounded
                           to whole minor units, by column
    decimal_ids            columns of ids that held decimal numbers (101.0), read as whole ones
    n_unknown_items        rows kept though their item is not among the items imported with them
    n_unlawful_reductions  announced reductions of the price list that the price law does not allow,
                           kept since they happened; of price_history only
    n_overlapping          regular prices that begin and end within an earlier one of the item, of
                           the whole price list; of price_history only
    overlapping            the items of the first of them
    n_older                items and users left out, because the stored row has a later updated_at
    n_overwritten          items with an updated_at, as HTTP gives it, replaced by a row without one
    older, overwritten     the ids of the first of them
    n_contradicting        events whose amount of the line is not that of a unit times the quantity
    n_without_amount       purchases that say nothing of what was paid
    paid_to_list           what purchases paid over the list price, their median, of zones in which
                           that is far from 1
    cost_above_price       items whose cost is above their list price, of zones in which most are
    """

    rows_read: int = 0
    written: WriteCount = field(default_factory=lambda: WriteCount(0, 0, 0))
    duplicates: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    examples: dict[str, BadValue] = field(default_factory=dict)
    n_bad: int = 0
    quarantine_file: Path | None = None
    attributes: list[str] = field(default_factory=list)
    near_columns: dict[str, list[str]] = field(default_factory=dict)
    n_unknown_zones: int = 0
    rounded: dict[str, int] = field(default_factory=dict)
    decimal_ids: list[str] = field(default_factory=list)
    n_unknown_items: int = 0
    n_unlawful_reductions: int = 0
    n_overlapping: int = 0
    overlapping: list[str] = field(default_factory=list)
    n_older: int = 0
    older: list[str] = field(default_factory=list)
    n_overwritten: int = 0
    overwritten: list[str] = field(default_factory=list)
    n_contradicting: int = 0
    n_without_amount: int = 0
    paid_to_list: dict[str, float] = field(default_factory=dict)
    cost_above_price: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ZoneCount:
    """A zone of an import: its currency, and its rows in tables with a zone."""

    currency: str
    rows: int


@dataclass
class ImportReport:
    """One import, table by table.

    ignored      files that are no table
    near_tables  the tables that those may have been meant to be
    zones        the zones of the good rows
    """

    source: str
    tables: dict[str, TableReport] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    near_tables: dict[str, list[str]] = field(default_factory=dict)
    zones: dict[str, ZoneCount] = field(default_factory=dict)

    def count_written(self, counts: Mapping[str, WriteCount]) -> None:
        """Note what became of the good rows of each table."""
        for name, count in counts.items():
            table = self.tables[name]
            table.written = count
            if count.erased:
                table.excluded[OF_ERASED] += count.erased

    def count_zones(self, tables: Mapping[str, pa.Table], settings: Settings) -> None:
        """Count the rows of each zone of `tables`."""
        rows: Counter[str] = Counter()
        for table in tables.values():
            if "zone" in table.column_names:
                counts = table["zone"].value_counts().to_pylist()
                rows.update({count["values"]: count["counts"] for count in counts})
        self.zones = {
            zone: ZoneCount(settings.zone(zone).currency, rows[zone]) for zone in sorted(rows)
        }

    @property
    def share_bad(self) -> float:
        """Return the rows that failed validation as a share of the rows in scope."""
        n_read = sum(table.rows_read - table.excluded.total() for table in self.tables.values())
        n_bad = sum(table.n_bad for table in self.tables.values())
        return n_bad / n_read if n_read else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the report as a JSON document."""
        return {
            "source": self.source,
            "share_bad": self.share_bad,
            "ignored": self.ignored,
            "near_tables": self.near_tables,
            "zones": {zone: vars(count) for zone, count in self.zones.items()},
            "tables": {
                name: {
                    "rows_read": table.rows_read,
                    "new": table.written.new,
                    "replaced": table.written.replaced,
                    "unchanged": table.written.unchanged,
                    "duplicates": table.duplicates,
                    "excluded": dict(table.excluded),
                    "n_bad": table.n_bad,
                    "quarantined": dict(table.quarantined),
                    "examples": {reason: vars(bad) for reason, bad in table.examples.items()},
                    "quarantine_file": str(table.quarantine_file)
                    if table.quarantine_file
                    else None,
                    "attributes": table.attributes,
                    "near_columns": table.near_columns,
                    "n_unknown_zones": table.n_unknown_zones,
                    "rounded": table.rounded,
                    "decimal_ids": table.decimal_ids,
                    "n_unknown_items": table.n_unknown_items,
                    "n_unlawful_reductions": table.n_unlawful_reductions,
                    "n_overlapping": table.n_overlapping,
                    "overlapping": table.overlapping,
                    "n_older": table.n_older,
                    "older": table.older,
                    "n_overwritten": table.n_overwritten,
                    "overwritten": table.overwritten,
                    "n_contradicting": table.n_contradicting,
                    "n_without_amount": table.n_without_amount,
                    "paid_to_list": table.paid_to_list,
                    "cost_above_price": table.cost_above_price,
                }
                for name, table in self.tables.items()
            },
        }


def count_reasons(reasons: Sequence[str]) -> dict[str, int]:
    """Count how often each single reason was given, in reasons joined by "; ".

    >>> count_reasons(["a; b", "a"])
    {'a': 2, 'b': 1}
    """
    counts: dict[str, int] = {}
    for joined in reasons:
        for reason in joined.split("; "):
            counts[reason] = counts.get(reason, 0) + 1
    return counts
