"""`POST /v1/price-suggestions`: prices that people propose."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.errors import BadInput
from features.contracts.tables import DEFAULT_ZONE
from features.prices.guards import parse_price
from serving.field_types import Id, Money, ReasonRequest, Text, Time
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_instant
from serving.http.sheets import SHEET_BODY
from serving.price_desk.checked_prices import ProposedPrice
from serving.price_desk.price_files import read_prices
from serving.price_desk.proposal_documents import ProposalResponse, describe_proposal
from serving.price_desk.proposals import (
    MAX_PRICES,
    CheckedProposal,
    ItemChoice,
    ProposalOptions,
    ProposalService,
)

router = APIRouter(
    prefix="/v1/price-suggestions",
    tags=["price desk"],
    dependencies=[Depends(check_text)],
    route_class=LargeBodyRoute,
)
_FILE_PARAMETERS = (
    "zone",
    "confirm",
    "effective_from",
    "reason",
    "dry_run",
    "expected_digest",
)

Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Proposals = Annotated[ProposalService, Depends(inject(ProposalService))]


class PriceRequest(BaseModel):
    """A price of an item."""

    model_config = ConfigDict(extra="forbid")

    item_id: Id
    price: Money
    zone: Text = DEFAULT_ZONE
    reason: Text | None = Field(None, max_length=2_000)


class ChoiceRequest(BaseModel):
    """Items of a zone, by all conditions that are given."""

    model_config = ConfigDict(extra="forbid")

    zone: Text = DEFAULT_ZONE
    category: Text | None = Field(None, description="The category itself and all below it")
    brand: Text | None = None
    item_ids: list[Id] = Field(default_factory=list, max_length=MAX_PRICES)


class ProposalRequest(ReasonRequest):
    """Prices to propose: `prices`, or `percent` of the present prices of the items of `filter`."""

    prices: list[PriceRequest] | None = Field(None, min_length=1, max_length=MAX_PRICES)
    percent: float | None = Field(None, gt=-100, le=1_000, allow_inf_nan=False)
    filter: ChoiceRequest | None = None
    effective_from: Time | None = None
    confirm: list[Text] = Field(
        default_factory=list, max_length=50, description="Names of rules that may be broken"
    )
    dry_run: bool = Field(False, description="Only look: nothing is filed")
    expected_digest: str | None = Field(
        None, max_length=64, description="Of the preview that is to be filed; 409 where it changed"
    )

    def to_options(self) -> ProposalOptions:
        """Return what applies to all prices."""
        return ProposalOptions(self.effective_from, frozenset(self.confirm), self.reason)


@router.post("", dependencies=[Depends(allow_only())], response_model=ProposalResponse)
def propose(
    caller: Proposer, write: Write, proposals: Proposals, body: ProposalRequest
) -> Response:
    """Proposes prices; somebody else must approve them. `dry_run` shows what would be filed, with
    the rules that each price breaks and its expected effect."""

    def check() -> CheckedProposal:
        proposed = _read_prices(proposals, body)
        return proposals.check(caller, proposed, body.to_options())

    if body.dry_run:
        return _show(check())

    def record(connection: sa.Connection, proposal: CheckedProposal) -> ProposalResponse:
        filed = proposals.file(
            connection, caller, proposal, body.to_options(), body.expected_digest
        )
        return describe_proposal(proposal, filed)

    return write.run_outside(caller, check, record)


async def read_body(request: Request) -> bytes:
    """A FastAPI dependency that returns the body as it came."""
    return await request.body()


@router.post(
    "/file",
    dependencies=[Depends(allow_only(*_FILE_PARAMETERS, many=("confirm",)))],
    response_model=ProposalResponse,
    openapi_extra=SHEET_BODY,
)
def propose_file(
    caller: Proposer,
    write: Write,
    proposals: Proposals,
    content: Annotated[bytes, Depends(read_body)],
    zone: Annotated[str, Query(description="Of rows without a zone")] = DEFAULT_ZONE,
    confirm: Annotated[
        list[str] | None, Query(max_length=50, description="Names of rules that may be broken")
    ] = None,
    effective_from: Annotated[str | None, Query(description="RFC 3339")] = None,
    reason: Annotated[str | None, Query(max_length=2_000)] = None,
    dry_run: bool = False,
    expected_digest: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Proposes the prices of a CSV or XLSX file, with the columns item_id and price. Send it with
    `dry_run` first, then once more with the digest of that preview."""
    now = proposals.desk.clock.now()
    begins_at = parse_instant(effective_from, now, where="effective_from")
    options = ProposalOptions(
        None if effective_from is None else begins_at, frozenset(confirm or ()), reason
    )

    def check() -> CheckedProposal:
        prices = read_prices(content, proposals.desk.settings, zone)
        return proposals.check(caller, prices, options)

    if dry_run:
        return _show(check())

    def record(connection: sa.Connection, proposal: CheckedProposal) -> ProposalResponse:
        filed = proposals.file(connection, caller, proposal, options, expected_digest)
        return describe_proposal(proposal, filed)

    return write.run_outside(caller, check, record)


def _show(proposal: CheckedProposal) -> Response:
    document = describe_proposal(proposal).model_dump_json()
    return Response(document, media_type="application/json")


def _read_prices(proposals: ProposalService, body: ProposalRequest) -> list[ProposedPrice]:
    """Return the prices of a request. Raises BadInput unless it has either kind."""
    if (body.prices is None) == (body.percent is None):
        raise BadInput("give either prices, or percent with filter")
    if body.prices is None:
        if body.filter is None or not body.percent:
            raise BadInput("percent needs filter, and is not 0", where="percent")
        choice = ItemChoice(
            body.filter.zone,
            body.filter.category,
            body.filter.brand,
            tuple(body.filter.item_ids),
        )
        return [
            ProposedPrice(row, item_id, choice.zone, percent=body.percent)
            for row, item_id in enumerate(proposals.choose_items(choice), start=1)
        ]
    if body.filter is not None:
        raise BadInput("filter goes with percent", where="filter")
    settings = proposals.desk.settings
    return [
        ProposedPrice(
            row,
            price.item_id,
            price.zone,
            parse_price(price.price, settings.zone(price.zone).currency, where=f"prices.{row - 1}"),
            reason=price.reason,
        )
        for row, price in enumerate(body.prices, start=1)
    ]
