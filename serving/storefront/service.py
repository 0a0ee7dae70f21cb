"""The server side of the demo storefront: what its pages cannot do with a publishable key.

It stands for the shop system that a real shop has: it knows the catalogue, searches it, knows who
has signed in, and takes orders.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from features.contracts.clock import Clock
from features.contracts.errors import BadInput, UnknownName
from features.contracts.event_types import EventType
from features.contracts.tables import DEFAULT_ZONE
from features.online.live_catalogue import LiveCatalogue
from serving.browser.service import BrowserIds, BrowserService
from serving.events.service import EventService
from serving.keys.service import PUBLIC_SCOPE, KeyService
from serving.recommendations.service import RecommendationService, SlateAnswer, SlateRequest

FIELDS = ("title", "category", "brand", "size", "price", "list_price", "prior_price", "currency")
# So many of the best-selling matches are ranked; then a page of results is shown.
_MOST_RANKED = 200
_N_RESULTS = 18
_SIGNED_IN_HOURS = 12.0


@dataclass(frozen=True)
class OrderLine:
    """An item of an order."""

    item_id: str
    quantity: int


@dataclass
class StorefrontService:
    """The shop of the demo for one process.

    users     as whom anybody may sign in
    key_path  where the publishable key of the pages is kept
    """

    users: tuple[str, ...]
    key_path: Path
    clock: Clock
    live: LiveCatalogue
    browser: BrowserService
    recommendations: RecommendationService
    events: EventService
    keys: KeyService

    @cached_property
    def key(self) -> str:
        """The publishable key of the pages, kept in the state folder."""
        if self.key_path.exists() and self.keys.find_caller(key := self.key_path.read_text()):
            return key
        key = self.keys.create("demo storefront", (PUBLIC_SCOPE,)).key
        self.key_path.write_text(key)
        return key

    def sign_in(self, user_id: str) -> str:
        """Return the proof that a browser may use a user's id. Raises UnknownName for a user as
        whom nobody may sign in here."""
        if user_id not in self.users:
            raise UnknownName(user_id, self.users, kind="user", where="user_id")
        return self.browser.tokens.sign_user(user_id, _SIGNED_IN_HOURS)[0]

    def describe(self, item_ids: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        """Return the fields of the items that the catalogue has."""
        known = [item_id for item_id in item_ids if item_id in self.live.read().items.index]
        fields = self.recommendations.item_fields
        return fields.read(known, FIELDS, DEFAULT_ZONE, own_stock=False)

    def search(self, query: str, ids: BrowserIds) -> SlateAnswer | None:
        """Return the items that match a query, ranked for the visitor; None where none does.

        Raises Forbidden where an id is not proved.
        """
        self.browser.check_ids(ids)
        recommender = self.recommendations.models.recommender().recommender
        item_ids = recommender.search(query, _MOST_RANKED)
        if not item_ids:
            return None
        request = SlateRequest(
            placement="home",
            user_id=ids.user_id,
            visitor_id=ids.visitor_id,
            count=_N_RESULTS,
            in_stock_only=False,
            candidate_ids=tuple(item_ids),
            search_text=query,
            fields=FIELDS,
        )
        return self.recommendations.answer(request)

    async def order(self, lines: Sequence[OrderLine], ids: BrowserIds) -> str:
        """Store an order at the prices of the ledger, and return its id.

        Raises Forbidden where an id is not proved, BadInput for an item without a price.
        """
        self.browser.check_ids(ids)
        quantities: Counter[str] = Counter()
        for line in lines:
            quantities[line.item_id] += line.quantity
        described = self.describe(list(quantities))
        order_id = f"demo-{secrets.token_hex(6)}"
        now = self.clock.now().isoformat()
        bought: list[dict[str, object]] = []
        for number, (item_id, quantity) in enumerate(quantities.items(), start=1):
            price = described.get(item_id, {}).get("price")
            if price is None:
                raise BadInput(f"{item_id!r} has no price", where="lines")
            purchase: dict[str, object] = {
                "event_id": f"{order_id}.{number}",
                "event_type": EventType.PURCHASE,
                "occurred_at": now,
                "order_id": order_id,
                "item_id": item_id,
                "quantity": quantity,
                "unit_price": price,
                "visitor_id": ids.visitor_id,
                "user_id": ids.user_id,
            }
            bought.append({name: value for name, value in purchase.items() if value is not None})
        result = await self.events.store(bought)
        if result.rejected:
            raise BadInput(result.rejected[0].reason, where="lines")
        return order_id
