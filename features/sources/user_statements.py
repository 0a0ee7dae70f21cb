"""Dates the statements of imported users about personalization, and leaves out earlier ones."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from features.contracts.tables import USERS
from features.sources.report import FactStore, TableReport

_SHOWN = 5
_ALLOWED, _STATED_AT = "personalization_allowed", "updated_at"


def keep_later_statements(
    users: pa.Table, facts: FactStore, report: TableReport, now: datetime
) -> pa.Table:
    """Return the users of a file without those whose stored statement is later, each with the time
    of its statement where one is known.

    A row with `updated_at` is as of then. One without repeats the stored statement, or is a
    statement of this import, `now`. That somebody new allows it is the default of the table, no
    statement: it has no time.
    """
    stored = facts.read_columns(USERS.name, ("user_id", _ALLOWED, _STATED_AT)).to_pylist()
    known = {row["user_id"]: row for row in stored}
    later = []
    for row in users.to_pylist():
        before = known.get(row["user_id"])
        if row[_STATED_AT] is None:
            repeats = before is not None and before[_ALLOWED] == row[_ALLOWED]
            is_default = before is None and row[_ALLOWED]
            row[_STATED_AT] = before[_STATED_AT] if before is not None and repeats else now
            if is_default:
                row[_STATED_AT] = None
        elif before is not None and before[_STATED_AT] and row[_STATED_AT] < before[_STATED_AT]:
            report.n_older += 1
            report.older = [*report.older, row["user_id"]][:_SHOWN]
            continue
        later.append(row)
    return pa.Table.from_pylist(later, users.schema)
