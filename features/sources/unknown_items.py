"""Rows whose item is in no catalogue: counted, and an import of mostly such events is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from configs.settings import Settings
from features.contracts.errors import TooManyUnknownItems
from features.contracts.near_names import find_near_names
from features.contracts.tables import EVENTS, ITEMS, NO_ITEM
from features.sources.report import FactStore, ImportReport

_SHOWN = 3
_COMPARED = 2_000


def check_items(
    tables: Mapping[str, pa.Table], facts: FactStore, report: ImportReport, settings: Settings
) -> None:
    """Count the rows of items that are neither imported with them nor known; they are kept.

    Raises TooManyUnknownItems where such events are more than `settings.max_unknown_items` of all:
    then the two tables spell their ids differently.
    """
    item_ids = facts.read_columns(ITEMS.name, ["item_id"])["item_id"]
    if ITEMS.name in tables:
        item_ids = pa.chunked_array([*item_ids.chunks, *tables[ITEMS.name]["item_id"].chunks])
    for name, rows in tables.items():
        if "item_id" in rows.column_names:
            known = pc.is_in(rows["item_id"], value_set=item_ids)
            known = pc.or_(known, pc.equal(rows["item_id"], NO_ITEM))
            n_unknown = rows.num_rows - int(pc.sum(known).as_py() or 0)
            report.tables[name].n_unknown_items = n_unknown
    if EVENTS.name not in tables:
        return
    events, n_unknown = tables[EVENTS.name], report.tables[EVENTS.name].n_unknown_items
    if n_unknown <= settings.max_unknown_items * events.num_rows:
        return
    unknown = events.filter(pc.invert(pc.is_in(events["item_id"], value_set=item_ids)))
    named = unknown["item_id"].unique()
    examples = named.filter(pc.not_equal(named, NO_ITEM)).slice(0, _SHOWN).to_pylist()
    ids = sorted(item_ids.unique().to_pylist())
    near = find_near_names(examples[0], ids[:_COMPARED])
    meant = f"Is {near[0]!r} of items meant? " if near else ""
    raise TooManyUnknownItems(
        f"{n_unknown:,} of {events.num_rows:,} events ({n_unknown / events.num_rows:.0%}) name an "
        f"item that is not in items, {settings.max_unknown_items:.0%} may; nothing was imported. "
        f"Events say {_quote(examples)}; items has {_quote(ids[:_SHOWN]) or 'no row'}",
        where="item_id of events",
        hint=f"{meant}Write ids alike in both tables, import the missing items, or allow more with "
        "--max-unknown-items",
    )


def _quote(texts: list[str]) -> str:
    return ", ".join(map(repr, texts))
