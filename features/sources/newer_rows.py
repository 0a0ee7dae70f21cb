"""Which row of an item is newer: that of a file, or the one that a program wrote."""

from __future__ import annotations

import pyarrow as pa

from features.contracts.tables import ITEMS
from features.sources.report import FactStore, TableReport

UPDATED_AT = "updated_at"
_SHOWN = 5


def keep_newer_rows(items: pa.Table, facts: FactStore, report: TableReport) -> pa.Table:
    """Return the items of a file without those that are older than the stored ones.

    A row with `updated_at` is as of then; one without is as of the import, and so newer. It keeps
    the stored time where nothing else differs. What is left out, and which rows with a time are
    replaced by rows without one, is counted.
    """
    stored = facts.read_columns(ITEMS.name, ITEMS.arrow.names)
    dated = stored.filter(stored[UPDATED_AT].is_valid()).to_pylist()
    if not dated:
        return items
    known = {row["item_id"]: row for row in dated}
    rows = items.to_pylist()
    newer = []
    for row in rows:
        before = known.get(row["item_id"])
        if before is not None and row[UPDATED_AT] is None:
            if {**row, UPDATED_AT: None} == {**before, UPDATED_AT: None}:
                row[UPDATED_AT] = before[UPDATED_AT]
            else:
                report.n_overwritten += 1
                report.overwritten = [*report.overwritten, row["item_id"]][:_SHOWN]
        elif before is not None and row[UPDATED_AT] < before[UPDATED_AT]:
            report.n_older += 1
            report.older = [*report.older, row["item_id"]][:_SHOWN]
            continue
        newer.append(row)
    return pa.Table.from_pylist(newer, items.schema)
