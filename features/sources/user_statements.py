"""Dates the statements of imported users about personalization, and leaves out earlier ones."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

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
    stored = facts.read_columns(USERS.name, ("user_id", _ALLOWED, _STATED_AT))
    rows = pc.index_in(users["user_id"], value_set=stored["user_id"])
    before_allowed, before_stated = stored[_ALLOWED].take(rows), stored[_STATED_AT].take(rows)
    stated, allowed = users[_STATED_AT], users[_ALLOWED]
    repeats = pc.fill_null(pc.equal(before_allowed, allowed), fill_value=False)
    is_default = pc.and_(rows.is_null(), allowed)
    no_time = pa.scalar(None, stated.type)
    undated = pc.if_else(
        repeats, before_stated, pc.if_else(is_default, no_time, pa.scalar(now, stated.type))
    )
    is_older = pc.fill_null(pc.less(stated, before_stated), fill_value=False)
    older = users["user_id"].filter(is_older)
    report.n_older += len(older)
    report.older = [*report.older, *older.slice(0, _SHOWN).to_pylist()][:_SHOWN]
    dated = pc.if_else(stated.is_valid(), stated, undated)
    position = users.schema.get_field_index(_STATED_AT)
    return users.set_column(position, users.schema.field(position), dated).filter(
        pc.invert(is_older)
    )
