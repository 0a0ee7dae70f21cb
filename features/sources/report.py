"""The report of an import: the rows read, kept and left out, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True)
class WriteCount:
    """Rows that were new, rows that replaced an earlier one under the same key, rows that were
    there already."""

    new: int
    replaced: int
    unchanged: int


class FactStore(Protocol):
    """The store of the rows of an import."""

    def is_empty(self, table: str) -> bool:
        """Return whether `table` holds no row yet."""
        ...

    def knows_events(self, event_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether an imported event has it."""
        ...

    def write(self, tables: Mapping[str, pa.Table]) -> dict[str, WriteCount]:
        """Add rows in stored schema to several tables in one step."""
        ...


@dataclass
class TableReport:
    """What became of the rows of one table.

    duplicates             rows that say again what another row of the import says
    excluded               rows out of scope, by the rule of the source
    quarantined            rows that failed validation, by reason; a row may have several reasons
    n_bad                  rows that failed validation
    attributes             columns that the table does not know, kept as attributes
    n_unknown_items        rows kept though their item is not among the items imported with them
    n_unlawful_reductions  announced reductions of the price list that the price law does not allow,
                           kept since they happened; of price_history only
    """

    rows_read: int = 0
    written: WriteCount = field(default_factory=lambda: WriteCount(0, 0, 0))
    duplicates: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    n_bad: int = 0
    quarantine_file: Path | None = None
    attributes: list[str] = field(default_factory=list)
    n_unknown_items: int = 0
    n_unlawful_reductions: int = 0


@dataclass
class ImportReport:
    """One import, table by table."""

    source: str
    tables: dict[str, TableReport] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # files that are no table

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
                    "quarantine_file": str(table.quarantine_file)
                    if table.quarantine_file
                    else None,
                    "attributes": table.attributes,
                    "n_unknown_items": table.n_unknown_items,
                    "n_unlawful_reductions": table.n_unlawful_reductions,
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
