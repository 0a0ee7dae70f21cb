"""The JSON of a row of the price ledger, in the feed of changes and after a rollback."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.prices.ledger import Price


class PriceChangeResponse(BaseModel):
    """A row of the price ledger."""

    id: str
    seq: int
    item_id: str
    zone: str
    list_price: str
    offer_price: str
    currency: str
    valid_from: datetime
    valid_to: datetime | None
    source: str
    suggestion_id: str | None
    reverts: str | None = Field(description="The price change that this one undoes")
    recorded_at: datetime


def describe_change(price: Price) -> PriceChangeResponse:
    """Return the document of a row of the ledger."""
    return PriceChangeResponse(
        id=price.price_id,
        seq=price.seq,
        item_id=price.item_id,
        zone=price.zone,
        list_price=to_major(price.list_price_minor, price.currency),
        offer_price=to_major(price.offer_price_minor, price.currency),
        currency=price.currency,
        valid_from=price.valid_from,
        valid_to=price.valid_to,
        source=str(price.source),
        suggestion_id=price.suggestion_id,
        reverts=price.reverts_price_id,
        recorded_at=price.recorded_at,
    )
