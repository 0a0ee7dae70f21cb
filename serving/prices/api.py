"""`GET /v1/prices` and the feed of price changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor, parse_instant
from serving.prices.documents import PriceChangeResponse, describe_change
from serving.prices.service import PriceService, Quote

router = APIRouter(tags=["prices"], dependencies=[Depends(check_text)])
Prices = Annotated[PriceService, Depends(inject(PriceService))]
MAX_ITEMS = 500


class PriceResponse(BaseModel):
    """A valid price. Money is a decimal in major units."""

    item_id: str
    zone: str
    list_price: str
    offer_price: str
    currency: str
    valid_from: datetime
    valid_to: datetime | None
    prior_price: str | None = Field(
        description="Lowest price of the days before the reduction that the law counts; "
        "null without a reduction"
    )
    price_id: str


class PricesResponse(BaseModel):
    """Prices in the order of the request; `missing` are items without a price."""

    items: list[PriceResponse]
    missing: list[str]
    next_cursor: str | None = None


class PriceChangesResponse(BaseModel):
    """A page of the feed; pass the last `seq` as `after` to go on."""

    items: list[PriceChangeResponse]
    next_cursor: str | None


@router.get("/v1/prices", dependencies=[Depends(allow_only("item_id", "zone", "at"))])
def get_prices(
    _caller: Annotated[Caller, Depends(require("storefront"))],
    prices: Prices,
    item_id: Annotated[list[str], Query(min_length=1, max_length=MAX_ITEMS)],
    zone: str = DEFAULT_ZONE,
    at: Annotated[str | None, Query(description="RFC 3339; now without it")] = None,
) -> PricesResponse:
    """The prices of items. Refuses any parameter about a user, a visitor or a session."""
    quotes = prices.quote_items(item_id, zone, parse_instant(at, prices.now(), where="at"))
    priced = {quote.price.item_id for quote in quotes}
    return PricesResponse(
        items=[_describe_quote(quote) for quote in quotes],
        missing=[item for item in dict.fromkeys(item_id) if item not in priced],
    )


@router.get(
    "/v1/price-changes", dependencies=[Depends(allow_only("after", "cursor", "limit", "zone"))]
)
def get_price_changes(
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    prices: Prices,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    zone: str | None = None,
) -> PriceChangesResponse:
    """The ledger in the order of appending: a shop system that asks for what came after the last
    `seq` misses none."""
    start = max(after, parse_cursor(cursor))
    rows = prices.list_changes(start, limit, zone)
    next_cursor = str(rows[-1].seq) if len(rows) == limit else None
    return PriceChangesResponse(
        items=[describe_change(row) for row in rows], next_cursor=next_cursor
    )


def _describe_quote(quote: Quote) -> PriceResponse:
    price, prior = quote.price, quote.prior_price_minor
    return PriceResponse(
        item_id=price.item_id,
        zone=price.zone,
        list_price=to_major(price.list_price_minor, price.currency),
        offer_price=to_major(price.offer_price_minor, price.currency),
        currency=price.currency,
        valid_from=price.valid_from,
        valid_to=price.valid_to,
        prior_price=None if prior is None else to_major(prior, price.currency),
        price_id=price.price_id,
    )
