"""Leave-one-out: the last purchase of each user is hidden from everything that is fitted or looked
up, and asked for.

Only this protocol is comparable with the published figures of sequential recommenders, and it is
kinder than the split by time: what other users did later is known, and sources, rankers and
popularity have seen the user's own time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis

from features.contracts.tables import EventType
from features.facts.facts import Facts
from features.online.histories import sorted_arrow
from features.pipelines.expressions import before

TIME_SPLIT = (
    "time split: fitted on what occurred before the cut, judged on what was bought in the weeks after it; every known "
    "item is ranked, nothing is sampled"
)
LEAVE_ONE_OUT = (
    "leave-one-out: the last purchase of each user (equal times by event_id) is held out, with what the user did after "
    "it and other lines of that item in the same order; one model is fitted on all else, later events of other users "
    "included; every known item is ranked, nothing is sampled"
)


@dataclass(frozen=True)
class HeldOut:
    """The facts without the held-out events: `read` and `connection` are those of
    features.online.histories.Tables."""

    facts: Facts
    # a table: user_id, item_id, occurred_at, event_id and order_id of each user's last purchase
    last: Any
    hidden: Any  # a table: event_id of all that may not be seen

    @property
    def connection(self) -> Any:
        """Where the tables are."""
        return self.facts.connection

    def read(self, table: str) -> Any:
        """`table` without what is hidden."""
        rows = self.facts.read(table)
        return rows.anti_join(self.hidden, "event_id") if table == "events" else rows

    def targets(self) -> Iterable[tuple[str, str]]:
        """User and item of each held-out purchase."""
        rows = sorted_arrow(self.last, ["user_id"]).to_pydict()
        return zip(rows["user_id"], rows["item_id"], strict=True)


def hold_out_last(facts: Facts, end: datetime) -> HeldOut:
    """Holds out the last purchase before `end` of every user who has an earlier one.

    Hidden with it: everything of that user from later instants, and every event of the same item at
    the same instant or in the same order, since any of them would tell. The order of equal times is
    that of event_id, so that the targets do not depend on how rows happen to lie.
    """
    events = before(facts.read("events"), end).filter(lambda t: t.user_id.notnull())
    bought = events.filter(events.event_type == EventType.PURCHASE.value)
    by_user = ibis.window(
        group_by="user_id", order_by=[ibis.desc("occurred_at"), ibis.desc("event_id")]
    )
    placed = bought.mutate(
        place=ibis.row_number().over(by_user),
        n=bought.count().over(ibis.window(group_by="user_id")),
    )
    columns = ["user_id", "item_id", "occurred_at", "event_id", "order_id"]
    last = _kept(placed.filter((placed.place == 0) & (placed.n > 1)).select(columns))
    target = last.select("user_id", *(last[name].name(f"target_{name}") for name in columns[1:]))
    joined = events.inner_join(target, "user_id")
    same_order = (joined.order_id == joined.target_order_id).fill_null(False)
    same = (joined.item_id == joined.target_item_id) & (
        (joined.occurred_at == joined.target_occurred_at) | same_order
    )
    after = joined.occurred_at > joined.target_occurred_at
    return HeldOut(facts, last, _kept(joined.filter(same | after).select("event_id")))


def _kept(expression: Any) -> Any:
    """The rows of an expression as a table in memory, computed once."""
    return ibis.memtable(expression.to_pyarrow())
