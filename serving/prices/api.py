"""`GET /v1/prices` and the feed of price changes with its undo."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from features.prices.ledger import Price
from serving.database.audit_log import Decider
from serving.http.auth import Caller, require
from serving.http.idempotency import Attempt, attempt, run_once
from serving.http.parameters import cursor_number, instant, only, price_law_of, readable
from serving.http.types import ReasonRequest
from serving.prices import rollback as undo
from serving.prices import service as prices

router = APIRouter(tags=["prices"], dependencies=[Depends(readable)])
MAX_ITEMS = 500


class PriceResponse(BaseModel):
    """A price in force. Money is a decimal in major units."""

    item_id: str
    zone: str
    list_price: str
    offer_price: str
    currency: str
    valid_from: datetime
    valid_to: datetime | None
    prior_price: str | None = Field(
        description="Lowest price of the days before the reduction that the law counts; null without one"
    )
    price_id: str


class PricesResponse(BaseModel):
    """Prices in the order asked for; `missing` are items without a price."""

    items: list[PriceResponse]
    missing: list[str]
    next_cursor: str | None = None


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


class PriceChangesResponse(BaseModel):
    """A page of the feed; pass the last `seq` as `after` to go on."""

    items: list[PriceChangeResponse]
    next_cursor: str | None


@router.get("/v1/prices", dependencies=[Depends(only("item_id", "zone", "at"))])
def get_prices(
    request: Request,
    _caller: Annotated[Caller, Depends(require("storefront"))],
    item_id: Annotated[list[str], Query(min_length=1, max_length=MAX_ITEMS)],
    zone: str = DEFAULT_ZONE,
    at: Annotated[str | None, Query(description="RFC 3339; now without it")] = None,
) -> PricesResponse:
    """The prices of items. Refuses any parameter about a user, a visitor or a session."""
    state = request.app.state
    when = instant(at, state.clock.now(), where="at")
    quotes = prices.quote(state.engine, item_id, zone, when, price_law_of(request)(zone))
    found = {quote.price.item_id for quote in quotes}
    return PricesResponse(
        items=[_quote(quote) for quote in quotes],
        missing=[item for item in dict.fromkeys(item_id) if item not in found],
    )


@router.get("/v1/price-changes", dependencies=[Depends(only("after", "cursor", "limit", "zone"))])
def get_price_changes(
    request: Request,
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    zone: str | None = None,
) -> PriceChangesResponse:
    """The ledger in the order of appending: a shop system that asks for what came after the last
    `seq` misses none."""
    start = max(after, cursor_number(cursor))
    rows = prices.changes(request.app.state.engine, start, limit, zone)
    more = str(rows[-1].seq) if len(rows) == limit else None
    return PriceChangesResponse(items=[_change(row) for row in rows], next_cursor=more)


@router.post("/v1/price-changes/{price_id}/rollback", response_model=PriceChangeResponse)
def rollback(
    request: Request,
    price_id: str,
    caller: Annotated[Caller, Depends(require("pricing.approve"))],
    tried: Annotated[Attempt, Depends(attempt)],
    body: ReasonRequest | None = None,
) -> Response:
    """Restores the price before a change, as a new row of the ledger."""
    state = request.app.state
    reason = body.reason if body else None
    decider = Decider(caller.key_id, state.clock.now(), state.system_clock.now(), reason)
    return run_once(
        request,
        caller,
        tried,
        lambda connection: _change(undo.rollback(connection, decider, price_id)),
    )


def _quote(quote: prices.Quote) -> PriceResponse:
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


def _change(price: Price) -> PriceChangeResponse:
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
