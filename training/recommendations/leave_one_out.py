"""Leave-one-out: the last purchase of each user is hidden from all that is fitted, and predicted.

Only this protocol is comparable with the published metrics of sequential recommenders. It is easier
than the split by time: what other users did later is known, and sources, rankers and popularity
have seen the user's own time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import ibis.expr.types as ir

from features.contracts.tables import EventType
from features.facts.facts import Facts
from features.online.histories import fetch_sorted
from features.pipelines.expressions import before

TIME_SPLIT = (
    "time split: fitted on what occurred before the cut, evaluated on what was bought in the weeks "
    "after it; every known item is ranked, nothing is sampled"
)
LEAVE_ONE_OUT = (
    "leave-one-out: the last purchase of each user (equal times by event_id) is held out, with "
    "what the user did after it and other lines of that item in the same order; one model is "
    "fitted on all else, later events of other users included; every known item is ranked, "
    "nothing is sampled"
)


@dataclass(frozen=True)
class HeldOutPurchases:
    """The facts without the held-out events; follows features.online.histories.Tables.

    last     user_id, item_id, occurred_at, event_id and order_id of each user's last purchase
    hidden   event_id of every event that may not be seen
    """

    facts: Facts
    last: ir.Table
    hidden: ir.Table

    @property
    def connection(self) -> Any:
        """The database connection of the facts."""
        return self.facts.connection

    def read(self, table: str) -> ir.Table:
        """Return `table` without the hidden events."""
        rows = self.facts.read(table)
        return rows.anti_join(self.hidden, "event_id") if table == "events" else rows

    def targets(self) -> Iterable[tuple[str, str]]:
        """Return user and item of each held-out purchase."""
        rows = fetch_sorted(self.last, ["user_id"]).to_pydict()
        return zip(rows["user_id"], rows["item_id"], strict=True)


def hold_out_last_purchases(facts: Facts, end: datetime) -> HeldOutPurchases:
    """Hold out the last purchase before `end` of every user who has an earlier one.

    Hidden with it: everything of that user from later instants, and every event of the same item at
    the same instant or in the same order, since each of them would reveal it. Equal times are
    ordered by event_id, so that the targets do not depend on the order of the stored rows.
    """
    events = before(facts.read("events"), end).filter(lambda t: t.user_id.notnull())
    purchases = events.filter(events.event_type == EventType.PURCHASE.value)
    by_user = ibis.window(
        group_by="user_id", order_by=[ibis.desc("occurred_at"), ibis.desc("event_id")]
    )
    numbered = purchases.mutate(
        n_later=ibis.row_number().over(by_user),
        n=purchases.count().over(ibis.window(group_by="user_id")),
    )
    columns = ["user_id", "item_id", "occurred_at", "event_id", "order_id"]
    last = _compute(numbered.filter((numbered.n_later == 0) & (numbered.n > 1)).select(columns))
    target = last.select("user_id", *(last[name].name(f"target_{name}") for name in columns[1:]))
    joined = events.inner_join(target, "user_id")
    same_order = (joined.order_id == joined.target_order_id).fill_null(False)
    same_item = (joined.item_id == joined.target_item_id) & (
        (joined.occurred_at == joined.target_occurred_at) | same_order
    )
    later = joined.occurred_at > joined.target_occurred_at
    hidden = _compute(joined.filter(same_item | later).select("event_id"))
    return HeldOutPurchases(facts, last, hidden)


def _compute(expression: ir.Table) -> ir.Table:
    """Return the rows of an expression as a table in memory, computed once."""
    return ibis.memtable(expression.to_pyarrow())
