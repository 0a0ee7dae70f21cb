"""`GET /v1/prices` and the feed of price changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import Id
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor, parse_instant
from serving.http.sheets import SHEETS, Format, choose_format, send_sheet
from serving.prices.documents import PriceChangeResponse, describe_change
from serving.prices.labels import LabelSpan
from serving.prices.service import PriceService, Quote

router = APIRouter(tags=["prices"], dependencies=[Depends(check_text)])
Prices = Annotated[PriceService, Depends(inject(PriceService))]
MAX_ITEMS = 500


class ItemPromotionResponse(BaseModel):
    """A promotion that runs on an item; everybody is offered the same terms."""

    id: str
    name: str
    mechanic: str = Field(
        description="percent_off and price_off are in the price; bundle, spend_save, coupon and "
        "buy_get are given at the checkout"
    )
    terms: dict[str, Any] = Field(description="Amounts are decimals in major units")
    starts_at: datetime
    ends_at: datetime


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
    expired_at: datetime | None = Field(
        None,
        exclude_if=lambda expired_at: expired_at is None,
        description="Only where the price list of the item ended, and then when: this is its last "
        "list price, which goes on",
    )
    promotions: list[ItemPromotionResponse] = Field(
        [],
        exclude_if=lambda promotions: not promotions,
        description="Only where any promotion of the price desk runs on the item",
    )


class PricesResponse(BaseModel):
    """Prices in the order of the request; `missing` are items without a price."""

    items: list[PriceResponse]
    missing: list[str]
    next_cursor: str | None = None
    unknown: str | None = Field(
        None,
        exclude_if=lambda unknown: unknown is None,
        description="Only where nobody knows the zone: its name, and the nearest right one",
    )


class PriceChangesResponse(BaseModel):
    """A page of the feed; pass the last `seq` as `after` to go on."""

    items: list[PriceChangeResponse]
    next_cursor: str | None


@router.get(
    "/v1/prices", dependencies=[Depends(allow_only("item_id", "zone", "at", many=("item_id",)))]
)
def get_prices(
    _caller: Annotated[Caller, Depends(require("storefront"))],
    prices: Prices,
    item_id: Annotated[list[Id], Query(min_length=1, max_length=MAX_ITEMS)],
    zone: str = DEFAULT_ZONE,
    at: Annotated[str | None, Query(description="RFC 3339; now without it")] = None,
) -> PricesResponse:
    """The prices of items. Refuses any parameter about a user, a visitor or a session."""
    quotes = prices.quote_items(item_id, zone, parse_instant(at, prices.now(), where="at"))
    priced = {quote.price.item_id for quote in quotes}
    return PricesResponse(
        items=[_describe_quote(quote) for quote in quotes],
        missing=[item for item in dict.fromkeys(item_id) if item not in priced],
        unknown=None if priced else prices.explain_unknown_zone(zone),
    )


@router.get(
    "/v1/prices/labels",
    dependencies=[Depends(allow_only("zone", "from", "to", "format"))],
    response_class=StreamingResponse,
    responses=SHEETS,
)
def get_labels(
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    prices: Prices,
    since: Annotated[str, Query(alias="from", description="RFC 3339, included")],
    until: Annotated[str, Query(alias="to", description="RFC 3339, not included")],
    zone: str = DEFAULT_ZONE,
    format: Annotated[Literal["csv", "xlsx"], Query()] = "csv",  # noqa: A002
) -> Response:
    """A shelf label for every price that changes, as a file."""
    span = LabelSpan(
        zone=zone,
        since=parse_instant(since, prices.now(), where="from"),
        until=parse_instant(until, prices.now(), where="to"),
    )
    return send_sheet(lambda path: prices.write_labels(span, path, format), "labels", format)


@router.get(
    "/v1/price-changes",
    dependencies=[Depends(allow_only("after", "cursor", "limit", "zone", "format"))],
    response_model=PriceChangesResponse,
    responses=SHEETS,
)
def get_price_changes(
    request: Request,
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    prices: Prices,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    zone: str | None = None,
    format: Format = None,  # noqa: A002
) -> PriceChangesResponse | Response:
    """The ledger in the order of appending: a shop system that asks for what came after the last
    `seq` misses none. As a file, with names, all of it at once."""
    if sheet_format := choose_format(request, format, "cursor", "limit"):
        return send_sheet(
            lambda path: prices.write_changes(path, sheet_format, after=after, zone=zone),
            "price-changes",
            sheet_format,
        )
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
        expired_at=price.expired_at,
        promotions=[
            ItemPromotionResponse(
                id=item.promotion_id,
                name=item.name,
                mechanic=item.mechanic,
                terms=dict(item.terms),
                starts_at=item.starts_at,
                ends_at=item.ends_at,
            )
            for item in quote.promotions
        ],
    )
