"""What a visitor has in the cart, and what was shown to them: read from the database when a request
asks for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from features.contracts.event_types import EventType
from features.database import reading
from features.database_tables import events, slates
from features.facts.slates import decode_item_ids
from features.online.later_events import VisitorIds
from features.pipelines.feature_constants import VIEWED_DAYS

_LATELY = timedelta(days=VIEWED_DAYS)
_MAX_ROWS = 2_000
_MAX_SLATES = 200
_CART_EVENTS = (EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART, EventType.PURCHASE)


@dataclass(frozen=True)
class VisitorActivity:
    """Reads one database. Safe to share between threads."""

    engine: sa.Engine

    def find_carted(self, ids: VisitorIds, now: datetime) -> frozenset[str]:
        """Return the items in the cart of a visitor: added lately, and neither removed nor bought
        since.

        With a user, events of the visitor or session without a user count too, as in histories.
        """
        table = events.c
        nobody = table.user_id.is_(None)
        owners: list[sa.ColumnElement[bool]] = []
        if ids.user_id is not None:
            owners.append(table.user_id == ids.user_id)
        if ids.visitor_id is not None:
            owners.append(sa.and_(table.visitor_id == ids.visitor_id, nobody))
        if ids.session_id is not None:
            of_session = table.session_id == ids.session_id
            owners.append(of_session if ids.user_id is None else sa.and_(of_session, nobody))
        if not owners:
            return frozenset()
        query = (
            sa.select(table.item_id, table.event_type)
            .where(
                sa.or_(*owners),
                table.event_type.in_([str(kind) for kind in _CART_EVENTS]),
                table.occurred_at > now - _LATELY,
                table.occurred_at <= now,
                table.exclude.is_not(sa.true()),
            )
            .order_by(table.occurred_at.desc())
            .limit(_MAX_ROWS)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        last = {row.item_id: row.event_type for row in reversed(rows)}
        return frozenset(item for item, kind in last.items() if kind == EventType.ADD_TO_CART)

    def count_shown(self, unit_id: str, now: datetime) -> dict[str, int]:
        """Return how many slates showed each item to a unit lately, as the logged slates say."""
        table = slates.c
        query = (
            sa.select(table["items"])
            .where(table.unit_id == unit_id, table.shown_at > now - _LATELY, table.shown_at <= now)
            .order_by(table.shown_at.desc())
            .limit(_MAX_SLATES)
        )
        counts: Counter[str] = Counter()
        with reading(self.engine) as connection:
            for text in connection.execute(query).scalars():
                counts.update(decode_item_ids(text))
        return dict(counts)
