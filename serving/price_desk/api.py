"""The price desk over HTTP: list, read, submit, approve, reject, edit suggestions; roll back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel

from serving.database.audit_log import Decider
from serving.field_types import Id, ReasonRequest
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor, parse_if_match
from serving.http.sheets import SHEETS, Format, choose_format, send_sheet
from serving.price_desk import decisions
from serving.price_desk.approvals import Beginnings
from serving.price_desk.decisions import PriceEdit
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestion
from serving.price_desk.rollback import RollbackSelection, roll_back, roll_back_many
from serving.price_desk.service import PriceDeskService
from serving.price_desk.suggestion_documents import (
    ApproveRequest,
    BulkRequest,
    BulkResponse,
    EditRequest,
    ManyRequest,
    PreviewResponse,
    RefusedResponse,
    RollbackManyRequest,
    RollbackRequest,
    SubmitRequest,
    SuggestionDetailResponse,
    SuggestionResponse,
    SuggestionsResponse,
    describe_bulk,
    describe_preview,
    describe_suggestion,
    list_fields,
    list_refused,
    parse_statuses,
)
from serving.prices.documents import PriceChangeResponse, describe_change

router = APIRouter(
    prefix="/v1/price-suggestions",
    tags=["price desk"],
    dependencies=[Depends(check_text)],
    route_class=LargeBodyRoute,
)
changes_router = APIRouter(
    prefix="/v1/price-changes", tags=["prices"], dependencies=[Depends(check_text)]
)
_MANY = ("status", "item_id")  # filters that take several values
_FILTERS = ("status", "category", "min_change", "zone", "item_id", "evidence_grade", "run_id")

Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Approver = Annotated[Caller, Depends(require("pricing.approve"))]
Restorer = Annotated[Caller, Depends(require("pricing.rollback"))]
Desk = Annotated[PriceDeskService, Depends(inject(PriceDeskService))]
IfMatch = Annotated[
    str | None, Header(description="The ETag of the suggestion as you read it; 412 when it changed")
]


class RollbackManyResponse(BaseModel):
    """The rows that restore the prices before, and the changes that stay, with the reason."""

    restored: list[PriceChangeResponse]
    refused: list[RefusedResponse]


@router.get(
    "",
    dependencies=[Depends(allow_only(*_FILTERS, "cursor", "limit", "format", many=_MANY))],
    response_model=SuggestionsResponse,
    responses=SHEETS,
)
def list_suggestions(
    request: Request,
    _caller: Reader,
    desk: Desk,
    status: Annotated[
        list[str] | None, Query(description="May be repeated, or several joined by commas")
    ] = None,
    category: Annotated[
        str | None, Query(description="The category itself and all below it")
    ] = None,
    min_change: Annotated[
        float | None,
        Query(ge=0, allow_inf_nan=False, description="Share of the price: 0.05 is 5 %"),
    ] = None,
    zone: str | None = None,
    item_id: Annotated[list[Id] | None, Query(max_length=500)] = None,
    evidence_grade: str | None = None,
    run_id: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    format: Format = None,  # noqa: A002
) -> SuggestionsResponse | Response:
    """Suggestions, oldest first; as a file all that match, with costs, margins and names."""
    criteria = SuggestionFilter(
        status=parse_statuses(status),
        category=category,
        min_change=min_change,
        zone=zone,
        item_ids=tuple(item_id or ()),
        evidence_grades=(evidence_grade,) if evidence_grade is not None else (),
        run_id=run_id,
    )
    if sheet_format := choose_format(request, format, "cursor", "limit"):
        return send_sheet(
            lambda path: desk.write_suggestions(criteria, path, sheet_format),
            "price-suggestions",
            sheet_format,
        )
    page = desk.list_suggestions(criteria, after=parse_cursor(cursor), limit=limit)
    return SuggestionsResponse(
        items=[SuggestionResponse.model_validate(list_fields(suggestion)) for suggestion in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.get("/{suggestion_id}", dependencies=[Depends(allow_only())])
def get_suggestion(
    response: Response, suggestion_id: str, _caller: Reader, desk: Desk
) -> SuggestionDetailResponse:
    """One suggestion with its waterfall; the ETag is what `If-Match` asks for."""
    suggestion = desk.read_suggestion(suggestion_id)
    response.headers["ETag"] = f'"{suggestion.version}"'
    return describe_suggestion(suggestion)


@router.post("/bulk", response_model=BulkResponse)
def bulk(caller: Approver, write: Write, desk: Desk, body: BulkRequest) -> Response:
    """Approves or rejects many in one transaction; what cannot be decided is named with its
    reason."""
    decider = desk.decider(caller, "pricing.approve", body.reason)
    begins = desk.read_beginning(body.effective_from)
    return write.run_once(caller, _decide_many(decider, body.action, body, begins))


@router.post("/bulk/preview")
def preview_bulk(caller: Approver, desk: Desk, body: BulkRequest) -> PreviewResponse:
    """What the same body sent to `/bulk` would do now: nothing is changed."""
    criteria = None if body.filter is None else body.filter.to_filter()
    preview = desk.preview(
        caller, body.action, ids=body.ids, criteria=criteria, effective_from=body.effective_from
    )
    return describe_preview(preview)


@router.post("/submit", response_model=BulkResponse)
def submit_many(caller: Proposer, write: Write, desk: Desk, body: SubmitRequest) -> Response:
    """Submits what a run held back because the batch as a whole looked wrong."""
    decider = desk.decider(caller, "pricing.propose", body.reason)
    return write.run_once(caller, _decide_many(decider, "submit", body))


@router.post("/{suggestion_id}/submit", response_model=SuggestionDetailResponse)
def submit(
    suggestion_id: str,
    caller: Proposer,
    write: Write,
    desk: Desk,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Submits one suggestion that a run held back; it can be approved then."""
    decider = desk.decider(caller, "pricing.propose", body.reason if body else None)
    work = _decide(decisions.submit, decider, suggestion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{suggestion_id}/approve", response_model=SuggestionDetailResponse)
def approve(
    suggestion_id: str,
    caller: Approver,
    write: Write,
    desk: Desk,
    body: ApproveRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Puts the suggested price into the ledger: live at once, or scheduled."""
    decider = desk.decider(caller, "pricing.approve", body.reason if body else None)
    begins = desk.read_beginning(body.effective_from if body else None)
    decide = partial(decisions.approve, begins=begins)
    work = _decide(decide, decider, suggestion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{suggestion_id}/reject", response_model=SuggestionDetailResponse)
def reject(
    suggestion_id: str,
    caller: Approver,
    write: Write,
    desk: Desk,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Rejects the suggestion."""
    decider = desk.decider(caller, "pricing.approve", body.reason if body else None)
    work = _decide(decisions.reject, decider, suggestion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{suggestion_id}/edit", response_model=SuggestionDetailResponse)
def edit(
    suggestion_id: str,
    caller: Proposer,
    write: Write,
    desk: Desk,
    body: EditRequest,
    if_match: IfMatch = None,
) -> Response:
    """Suggests another price; someone else must approve it."""
    version = parse_if_match(if_match)
    change = PriceEdit(body.suggested_price, body.effective_from, body.confirm_large_change)

    def work(connection: sa.Connection) -> SuggestionDetailResponse:
        decider = desk.decider(caller, "pricing.propose", body.reason)
        return describe_suggestion(
            decisions.edit(connection, decider, suggestion_id, change, version)
        )

    return write.run_once(caller, work)


@changes_router.post("/{price_id}/rollback", response_model=PriceChangeResponse)
def rollback(
    price_id: str,
    caller: Restorer,
    write: Write,
    desk: Desk,
    body: RollbackRequest | None = None,
) -> Response:
    """Restores the price before a change, as a new row of the ledger."""
    decider = desk.decider(caller, "pricing.rollback", body.reason if body else None)

    def work(connection: sa.Connection) -> PriceChangeResponse:
        confirmed = body is not None and body.confirm_large_change
        return describe_change(roll_back(connection, decider, price_id, confirmed=confirmed))

    return write.run_once(caller, work)


@changes_router.post("/rollback", response_model=RollbackManyResponse)
def rollback_many(
    caller: Restorer, write: Write, desk: Desk, body: RollbackManyRequest
) -> Response:
    """Restores the prices before many changes in one transaction; what cannot be undone is named
    with its reason."""
    decider = desk.decider(caller, "pricing.rollback", body.reason)
    since, until = desk.read_day(body.day, body.zone) if body.day else (None, None)
    selection = RollbackSelection(tuple(body.price_ids or ()), body.run_id, since, until, body.zone)

    def work(connection: sa.Connection) -> RollbackManyResponse:
        result = roll_back_many(
            connection,
            decider,
            selection,
            expected_matched=body.expected_matched,
            confirmed=body.confirm_large_change,
        )
        return RollbackManyResponse(
            restored=[describe_change(price) for price in result.restored],
            refused=list_refused(result.refused),
        )

    return write.run_once(caller, work)


def _decide(
    decision: Callable[[sa.Connection, Decider, str, int | None], Suggestion],
    decider: Decider,
    suggestion_id: str,
    version: int | None,
) -> Callable[[sa.Connection], SuggestionDetailResponse]:
    """Return the work of one decision, to be done inside a transaction."""

    def work(connection: sa.Connection) -> SuggestionDetailResponse:
        return describe_suggestion(decision(connection, decider, suggestion_id, version))

    return work


def _decide_many(
    decider: Decider, action: str, body: ManyRequest, begins: Beginnings | None = None
) -> Callable[[sa.Connection], BulkResponse]:
    """Return the work of one decision on many suggestions, to be done inside a transaction."""
    criteria = None if body.filter is None else body.filter.to_filter()

    def work(connection: sa.Connection) -> BulkResponse:
        result = decisions.decide_many(
            connection,
            decider,
            action,
            ids=body.ids,
            criteria=criteria,
            expected_matched=body.expected_matched,
            begins=begins,
        )
        return describe_bulk(result)

    return work
