"""What a publishable key may do: slates of its own visitor, and events that any page may report.

Everybody can read such a key in the page. So it reads nothing of anybody whose proof the browser
does not hold, no attribute that is not public, and it cannot say that something was bought.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import TooManyRequests, UnknownName
from features.contracts.event_types import QUERY, EventType
from features.contracts.times import read_time
from features.online.live_catalogue import LiveCatalogue
from serving.browser.tokens import BrowserTokens
from serving.events.service import EventService, IngestResult, RejectedEvent
from serving.recommendations.item_filter import COLUMNS, Filter
from serving.recommendations.service import RecommendationService, SlateAnswer, SlateRequest

MAX_EVENTS = 100
_OLDEST = timedelta(days=1)
# What a page may report. Orders come from the shop's server, which knows that they were paid.
EVENT_TYPES = (
    EventType.VIEW_ITEM,
    EventType.VIEW_ITEM_LIST,
    EventType.SELECT_ITEM,
    EventType.ADD_TO_CART,
    EventType.REMOVE_FROM_CART,
    EventType.ADD_TO_WISHLIST,
    EventType.BEGIN_CHECKOUT,
    EventType.SEARCH,
)
EVENT_FIELDS = frozenset(
    {
        "event_id",
        "event_type",
        "occurred_at",
        "session_id",
        "item_id",
        "zone",
        "quantity",
        "recommendation_id",
        "placement",
        "rank",
        QUERY,
        "duration_seconds",
    }
)
_MAX_QUERY = 1_000  # characters
_MAX_ADDRESSES = 20_000


@dataclass(frozen=True)
class BrowserIds:
    """The ids that a browser gives, and the proofs that it holds."""

    visitor_id: str | None = None
    visitor_token: str | None = None
    user_id: str | None = None
    user_token: str | None = None


class AddressLimits:
    """Limits requests by address: a bucket of a minute's requests that fills up again."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Count a request. Raises TooManyRequests where the bucket is empty."""
        now, per_second = time.monotonic(), self._per_minute / 60
        with self._lock:
            left, at = self._buckets.pop(address, (float(self._per_minute), now))
            left = min(self._per_minute, left + (now - at) * per_second)
            is_empty = left < 1
            self._buckets[address] = (left if is_empty else left - 1, now)
            if len(self._buckets) > _MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        if is_empty:
            raise TooManyRequests(
                f"more than {self._per_minute} requests a minute came from this address",
                retry_after_seconds=max(1, round((1 - left) / per_second)),
            )


@dataclass(frozen=True)
class BrowserService:
    """Answers browsers for one process."""

    settings: Settings
    clock: Clock
    tokens: BrowserTokens
    limits: AddressLimits
    live: LiveCatalogue
    recommendations: RecommendationService
    events: EventService

    def answer_page(self, requests: Sequence[SlateRequest], ids: BrowserIds) -> list[SlateAnswer]:
        """Return the slates of a page. Raises Forbidden where an id is not proved, UnknownName for
        an attribute that is not public."""
        self.check_ids(ids)
        for request in requests:
            self.recommendations.item_fields.check(request.fields, self.settings.public_attributes)
            self._check_filter(request.filter)
        # No session: its id proves nothing, and it would show what somebody else has viewed.
        own = [
            replace(request, visitor_id=ids.visitor_id, user_id=ids.user_id, session_id=None)
            for request in requests
        ]
        return self.recommendations.answer_page(own)

    async def store(self, events: Sequence[Mapping[str, object]], ids: BrowserIds) -> IngestResult:
        """Store the events that a page may report, as of the visitor and the user of the proofs."""
        self.check_ids(ids)
        now, items = self.clock.now(), self.live.read().items.index
        rejected: list[RejectedEvent] = []
        good: list[dict[str, object]] = []
        indexes: list[int] = []
        for index, event in enumerate(events):
            reason = _find_objection(event, items, now)
            if reason is not None:
                rejected.append(RejectedEvent(index, reason))
                continue
            good.append(_attribute(event, ids))
            indexes.append(index)
        if not good:
            return IngestResult(0, 0, rejected)
        result = await self.events.store(good)
        rejected += [RejectedEvent(indexes[event.index], event.reason) for event in result.rejected]
        return replace(result, rejected=sorted(rejected, key=lambda event: event.index))

    def check_ids(self, ids: BrowserIds) -> None:
        """Raise Forbidden where an id is not proved."""
        if ids.visitor_id is not None:
            self.tokens.check_visitor(ids.visitor_id, ids.visitor_token)
        if ids.user_id is not None:
            self.tokens.check_user(ids.user_id, ids.user_token)

    def _check_filter(self, given: Filter) -> None:
        known = {*COLUMNS, *self.settings.public_attributes}
        for condition in given.attributes:
            if condition.name not in known:
                raise UnknownName(
                    condition.name, known, kind="attribute", where="filter.attributes"
                )


def _attribute(event: Mapping[str, object], ids: BrowserIds) -> dict[str, object]:
    """Return an event as one of this visitor and user; its session and its id are theirs alone.

    A page that knows or guesses an id of the shop's own events can neither take it nor learn from
    the answer what is stored under it.
    """
    session_id, event_id = event.get("session_id"), event.get("event_id")
    own = {name: value for name, value in event.items() if name != "session_id"}
    if isinstance(event_id, str):
        sender = "\0".join((ids.visitor_id or "", ids.user_id or "", event_id))
        own["event_id"] = f"page_{sha256(sender.encode()).hexdigest()[:32]}"
    if isinstance(session_id, str) and session_id and ids.visitor_id:
        own["session_id"] = f"{ids.visitor_id}.{session_id}"
    if ids.visitor_id is not None:
        own["visitor_id"] = ids.visitor_id
    if ids.user_id is not None:
        own["user_id"] = ids.user_id
    return own


def _find_objection(
    event: Mapping[str, object], items: Mapping[str, int], now: datetime
) -> str | None:
    """Return why a page may not report an event; None where it may."""
    others = sorted(event.keys() - EVENT_FIELDS)
    if others:
        return f"a page does not report {', '.join(others)}"
    kind, item_id, at = (event.get(name) for name in ("event_type", "item_id", "occurred_at"))
    if kind not in tuple(EVENT_TYPES):
        return f"event_type: a page reports {', '.join(EVENT_TYPES)}; the shop's server the others"
    if kind == EventType.SEARCH:
        query = event.get(QUERY)
        if item_id is not None or not isinstance(query, str) or len(query) > _MAX_QUERY:
            return f"query: a search has one of at most {_MAX_QUERY} characters, and no item_id"
    elif not isinstance(item_id, str) or item_id not in items:
        return "item_id: is not in the catalogue"
    moment = read_time(at) if isinstance(at, str) else None
    if moment is not None and moment < now - _OLDEST:
        return "occurred_at: lies more than a day back"
    return None
