"""When the stock of the catalogue was seen, for a comparison with counts of the table stock."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from features.contracts.tables import ITEMS
from features.sources.report import FactStore

_STOCK, _SEEN_AT = "stock_on_hand", "stock_on_hand_at"


def date_stock(items: pa.Table, facts: FactStore, now: datetime) -> pa.Table:
    """Return the items with `stock_on_hand_at` where the file does not give it.

    A number that is stored already keeps its time, so that a second import of the same rows changes
    nothing; another number was seen `now`.
    """
    stored = facts.read_columns(ITEMS.name, ("item_id", _STOCK, _SEEN_AT)).to_pylist()
    known = {row["item_id"]: (row[_STOCK], row[_SEEN_AT]) for row in stored}
    columns = (items[name].to_pylist() for name in ("item_id", _STOCK, _SEEN_AT))
    times = []
    for item_id, number, seen_at in zip(*columns, strict=True):
        known_number, known_at = known.get(item_id, (None, None))
        if number is not None and seen_at is None:
            seen_at = known_at if number == known_number else now
        times.append(seen_at)
    index = items.schema.get_field_index(_SEEN_AT)
    field = items.schema.field(index)
    return items.set_column(index, field, pa.array(times, field.type))
