"""User × item features: the items that a user bought, how often, and when.

All features are computed from *order lines*: one row per user × item × order, less refunds. A
refund names its order and takes its quantity back at the price paid; a line that is wholly refunded
no longer counts. A refund without an order, or of an order without the item, changes nothing. An
order is its order_id, else the purchase event itself.
"""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir

from features.contracts.tables import VIEW_TYPES, EventType
from features.contracts.visits import MAX_ACTIONS
from features.pipelines.expressions import before, decay, epoch_seconds, since, zone_of
from features.pipelines.feature_constants import MAX_VIEWED, VIEWED_DAYS


def order_lines(events: ir.Table, as_of: datetime) -> ir.Table:
    """Return one row per user × item × order that occurred before `as_of`, refunded ones included.

    user_id, item_id, order_key; zone; at (epoch seconds of the first purchase of the line, null
    when only a refund is known); bought and refunded (units); paid_minor (for all units bought);
    list_minor (at list price; null when any part of the line has none).
    """
    known = before(events, as_of)
    known = known.filter(
        known.user_id.notnull()
        & known.event_type.isin([EventType.PURCHASE.value, EventType.REFUND.value])
    )
    quantity = known.quantity.coalesce(1.0)
    is_bought = known.event_type == EventType.PURCHASE.value
    paid = known.line_amount_minor.cast("float64").coalesce(known.unit_price_minor * quantity, 0.0)
    # NaN spreads through the sum: a line is unlisted when any part of it is.
    listed = (known.list_price_minor * quantity).coalesce(float("nan"))
    parts = known.select(
        known.user_id,
        known.item_id,
        order_key=known.order_id.coalesce(known.event_id),
        zone=ibis.ifelse(is_bought, zone_of(known), None),
        second=ibis.ifelse(is_bought, epoch_seconds(known.occurred_at), None),
        bought=ibis.ifelse(is_bought, quantity, 0.0),
        refunded=ibis.ifelse(is_bought, 0.0, quantity),
        paid=ibis.ifelse(is_bought, paid, 0.0),
        listed=ibis.ifelse(is_bought, listed, 0.0),
    )
    lines = parts.group_by(["user_id", "item_id", "order_key"]).aggregate(
        zone=parts.zone.min(),
        at=parts.second.min(),
        bought=parts.bought.sum(),
        refunded=parts.refunded.sum(),
        paid_minor=parts.paid.sum(),
        list_minor=parts.listed.sum(),
    )
    return lines.mutate(list_minor=ibis.ifelse(lines.list_minor.isnan(), None, lines.list_minor))


def select_kept_lines(lines: ir.Table) -> ir.Table:
    """Return the order lines of which something was kept.

    quantity, paid_minor and list_minor are those of the units kept.
    """
    remaining = lines.filter(lines.bought > lines.refunded)
    share = (remaining.bought - remaining.refunded) / remaining.bought
    return remaining.select(
        remaining.user_id,
        remaining.item_id,
        remaining.order_key,
        remaining.zone,
        remaining["at"],
        quantity=remaining.bought - remaining.refunded,
        paid_minor=remaining.paid_minor * share,
        list_minor=remaining.list_minor * share,
    )


def n_orders(lines: ir.Table) -> ir.NumericScalar:
    """Return the distinct orders that held the item (one kept line is one order)."""
    return lines.count().cast("float32")


def quantity(lines: ir.Table) -> ir.NumericScalar:
    """Return the units remaining."""
    return lines.quantity.sum().cast("float32")


def decayed_frequency(lines: ir.Table, as_of: datetime) -> ir.NumericScalar:
    """Return the sum over those orders of DECAY_PER_WEEK ** (age in weeks at `as_of`)."""
    return decay(lines["at"], as_of).sum().cast("float32")


def first_at(lines: ir.Table) -> ir.NumericScalar:
    """Return the epoch seconds of the first purchase."""
    return lines["at"].min().cast("int64")


def last_at(lines: ir.Table) -> ir.NumericScalar:
    """Return the epoch seconds of the last purchase."""
    return lines["at"].max().cast("int64")


def user_item_history(lines: ir.Table, as_of: datetime) -> ir.Table:
    """Return one row per user × item of which something was kept, from `select_kept_lines`.

    user_id, item_id, n_orders, quantity, decayed_frequency, first_at, last_at; in no order.
    """
    return lines.group_by(["user_id", "item_id"]).aggregate(
        n_orders=n_orders(lines),
        quantity=quantity(lines),
        decayed_frequency=decayed_frequency(lines, as_of),
        first_at=first_at(lines),
        last_at=last_at(lines),
    )


def select_viewed_items(events: ir.Table, as_of: datetime) -> ir.Table:
    """Return the latest MAX_VIEWED items that each user viewed in the VIEWED_DAYS before `as_of`.

    A selection and an addition to the cart are views too. user_id, item_id, viewed_at (epoch
    seconds of the latest), order (0 is the latest; equal times by item_id).
    """
    known = since(before(events, as_of), as_of, VIEWED_DAYS)
    known = known.filter(known.user_id.notnull() & known.event_type.isin(VIEW_TYPES))
    known = known.select("user_id", "item_id", second=epoch_seconds(known.occurred_at))
    latest = known.group_by(["user_id", "item_id"]).aggregate(
        viewed_at=known.second.max().cast("int64")
    )
    ranked = latest.mutate(
        order=ibis.row_number().over(
            ibis.window(group_by=latest.user_id, order_by=[latest.viewed_at.desc(), latest.item_id])
        )
    )
    return ranked.filter(ranked.order < MAX_VIEWED)


def select_recent_actions(events: ir.Table, as_of: datetime) -> ir.Table:
    """Return the latest MAX_ACTIONS looks at items of each user in the VIEWED_DAYS before `as_of`.

    user_id, item_id, event_type, session_id, occurred_at, attributes; in no order.
    """
    known = since(before(events, as_of), as_of, VIEWED_DAYS)
    known = known.filter(known.user_id.notnull() & known.event_type.isin(VIEW_TYPES))
    latest_first = [known.occurred_at.desc(), known.item_id.desc(), known.event_type]
    number = ibis.row_number().over(ibis.window(group_by=known.user_id, order_by=latest_first))
    ranked = known.select(
        "user_id",
        "item_id",
        "event_type",
        "session_id",
        "occurred_at",
        "attributes",
        number=number,
    )
    return ranked.filter(ranked.number < MAX_ACTIONS).drop("number")
