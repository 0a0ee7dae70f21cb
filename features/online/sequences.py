"""Sequences of visitors computed from the facts, as of any instant."""

from __future__ import annotations

from datetime import datetime

import ibis
import numpy as np

from features.contracts.sequences import CART, PURCHASE, VIEW, Sequences
from features.contracts.tables import EventType
from features.online.histories import Tables, select_allowed_events, to_objects
from features.pipelines.expressions import before, epoch_seconds

_KINDS = {
    EventType.VIEW_ITEM.value: VIEW,
    EventType.SELECT_ITEM.value: VIEW,
    EventType.ADD_TO_WISHLIST.value: VIEW,
    EventType.ADD_TO_CART.value: CART,
    EventType.PURCHASE.value: PURCHASE,
}


def compute_offline_sequences(facts: Tables, as_of: datetime) -> Sequences:
    """Return the views, carts and purchases of every visitor before `as_of`.

    Anonymous visitors are included, users who do not allow personalization are not. Lines of one
    order have the time of its first line.
    """
    known = before(select_allowed_events(facts), as_of)
    visitor = known.user_id.coalesce(known.visitor_id, known.session_id)
    known = known.filter(visitor.notnull() & known.event_type.isin(list(_KINDS)))
    order = ibis.ifelse(
        known.event_type == EventType.PURCHASE.value, known.order_id, None
    ).coalesce(known.event_id)
    lines = known.select(
        visitor=known.user_id.coalesce(known.visitor_id, known.session_id),
        event_type=known.event_type,
        item_id=known.item_id,
        order=order,
        second=epoch_seconds(known.occurred_at),
    )
    first = lines.second.min().over(
        ibis.window(group_by=[lines.visitor, lines.event_type, lines.order])
    )
    rows = (
        lines.select("visitor", "event_type", "item_id", second=first.cast("int64"))
        .distinct()
        .to_pyarrow()
    )
    kinds = rows["event_type"].combine_chunks().dictionary_encode()
    codes = np.array([_KINDS[name] for name in kinds.dictionary.to_pylist()], np.int8)
    return Sequences.from_lines(
        to_objects(rows["visitor"]),
        rows["second"].to_numpy(),
        codes[kinds.indices.to_numpy()] if rows.num_rows else np.zeros(0, np.int8),
        to_objects(rows["item_id"]),
    )
