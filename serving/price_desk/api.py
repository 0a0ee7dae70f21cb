"""The price desk over HTTP: list, read, submit, approve, reject, edit suggestions; roll back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.errors import UnknownName
from features.contracts.money import to_major
from serving.database.audit_log import Decider
from serving.database.tables import SUGGESTION_STATUSES
from serving.field_types import ReasonRequest, Text, Time
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor, parse_if_match
from serving.price_desk import decisions
from serving.price_desk.decisions import BulkResult, PriceEdit
from serving.price_desk.repository import Suggestion, SuggestionFilter
from serving.price_desk.rollback import roll_back
from serving.price_desk.service import PriceDeskService
from serving.prices.documents import PriceChangeResponse, describe_change

router = APIRouter(
    prefix="/v1/price-suggestions", tags=["price desk"], dependencies=[Depends(check_text)]
)
changes_router = APIRouter(
    prefix="/v1/price-changes", tags=["prices"], dependencies=[Depends(check_text)]
)
_FILTERS = ("status", "category", "min_change", "zone", "item_id", "evidence_grade", "run_id")

Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Approver = Annotated[Caller, Depends(require("pricing.approve"))]
Desk = Annotated[PriceDeskService, Depends(inject(PriceDeskService))]
IfMatch = Annotated[
    str | None, Header(description="The ETag of the suggestion as you read it; 412 when it changed")
]


class SuggestionResponse(BaseModel):
    """A price suggestion. Money is a decimal in major units; `expected` is over the whole horizon
    of the run."""

    id: str
    item_id: str
    title: str | None
    category: str
    zone: str
    status: str
    version: int
    kind: str
    currency: str
    list_price: str
    current_price: str
    suggested_price: str
    share_change: float
    expected: dict[str, Any] | None = Field(
        description="units, revenue, profit: p10, p50, p90 and against keeping"
    )
    evidence_grade: str | None
    binding_rule: str | None
    run_id: str
    effective_from: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    proposed_by: str
    edited_by: str | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    price_id: str | None


class SuggestionDetailResponse(SuggestionResponse):
    """A suggestion with its reasons: the way from the opening price through each rule to the
    suggested one."""

    waterfall: list[dict[str, Any]]
    details: dict[str, Any]


class SuggestionsResponse(BaseModel):
    """A page of suggestions, oldest first."""

    items: list[SuggestionResponse]
    next_cursor: str | None


class EditRequest(ReasonRequest):
    """Another price than the suggested one, in major units."""

    suggested_price: Text = Field(max_length=32)
    effective_from: Time | None = None
    confirm_large_change: bool = Field(
        False, description="A change of the current price by more than half is meant"
    )


class FilterRequest(BaseModel):
    """Which suggestions; without status, the submitted ones."""

    model_config = ConfigDict(extra="forbid")

    status: Text | list[Text] | None = None
    category: Text | None = None
    min_change: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Share of the price: 0.05 is 5 %"
    )
    zone: Text | None = None
    item_id: Text | list[Text] | None = None
    evidence_grade: Text | None = None
    run_id: Text | None = None

    def to_filter(self) -> SuggestionFilter:
        """Return the filter. Raises UnknownName for a status that does not exist."""
        return SuggestionFilter(
            status=_parse_statuses(_to_list(self.status)),
            category=self.category,
            min_change=self.min_change,
            zone=self.zone,
            item_ids=tuple(_to_list(self.item_id)),
            evidence_grade=self.evidence_grade,
            run_id=self.run_id,
        )


class ManyRequest(ReasonRequest):
    """Many suggestions for one transaction: those of `filter`, or those of `ids`."""

    filter: FilterRequest | None = None
    ids: list[Text] | None = Field(None, max_length=100_000)
    expected_matched: int | None = Field(None, ge=0, description="409 when another number matches")


class BulkRequest(ManyRequest):
    """A decision on many suggestions in one transaction: those of `filter`, or those of `ids`."""

    action: Literal["approve", "reject"]


class SubmitRequest(ManyRequest):
    """Suggestions that a run held back, to be submitted in one transaction: those of `filter` (by
    default all suggested ones of it, as by `run_id`), or those of `ids`."""


class RefusedResponse(BaseModel):
    """A suggestion that was left unchanged."""

    id: str
    reason: str


class BulkResponse(BaseModel):
    """How many matched, how many were changed, and which were refused."""

    matched: int
    changed: int
    refused: list[RefusedResponse]


@router.get("", dependencies=[Depends(allow_only(*_FILTERS, "cursor", "limit"))])
def list_suggestions(
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
    item_id: Annotated[list[str] | None, Query(max_length=500)] = None,
    evidence_grade: str | None = None,
    run_id: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> SuggestionsResponse:
    """Suggestions, oldest first."""
    criteria = SuggestionFilter(
        status=_parse_statuses(status),
        category=category,
        min_change=min_change,
        zone=zone,
        item_ids=tuple(item_id or ()),
        evidence_grade=evidence_grade,
        run_id=run_id,
    )
    page = desk.list_suggestions(criteria, after=parse_cursor(cursor), limit=limit)
    return SuggestionsResponse(
        items=[SuggestionResponse.model_validate(_fields(suggestion)) for suggestion in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.get("/{suggestion_id}", dependencies=[Depends(allow_only())])
def get_suggestion(
    response: Response, suggestion_id: str, _caller: Reader, desk: Desk
) -> SuggestionDetailResponse:
    """One suggestion with its waterfall; the ETag is what `If-Match` asks for."""
    suggestion = desk.read_suggestion(suggestion_id)
    response.headers["ETag"] = f'"{suggestion.version}"'
    return _describe(suggestion)


@router.post("/bulk", response_model=BulkResponse)
def bulk(caller: Approver, write: Write, desk: Desk, body: BulkRequest) -> Response:
    """Approves or rejects many in one transaction; what cannot be decided is named with its
    reason."""
    decider = desk.decider(caller.key_id, body.reason)
    return write.run_once(caller, _decide_many(decider, body.action, body))


@router.post("/submit", response_model=BulkResponse)
def submit_many(caller: Proposer, write: Write, desk: Desk, body: SubmitRequest) -> Response:
    """Submits what a run held back because the batch as a whole looked wrong."""
    decider = desk.decider(caller.key_id, body.reason)
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
    decider = desk.decider(caller.key_id, body.reason if body else None)
    work = _decide(decisions.submit, decider, suggestion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{suggestion_id}/approve", response_model=SuggestionDetailResponse)
def approve(
    suggestion_id: str,
    caller: Approver,
    write: Write,
    desk: Desk,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Puts the suggested price into the ledger: live at once, or scheduled."""
    decider = desk.decider(caller.key_id, body.reason if body else None)
    work = _decide(decisions.approve, decider, suggestion_id, parse_if_match(if_match))
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
    decider = desk.decider(caller.key_id, body.reason if body else None)
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
        decider = desk.decider(caller.key_id, body.reason)
        return _describe(decisions.edit(connection, decider, suggestion_id, change, version))

    return write.run_once(caller, work)


@changes_router.post("/{price_id}/rollback", response_model=PriceChangeResponse)
def rollback(
    price_id: str,
    caller: Approver,
    write: Write,
    desk: Desk,
    body: ReasonRequest | None = None,
) -> Response:
    """Restores the price before a change, as a new row of the ledger."""
    decider = desk.decider(caller.key_id, body.reason if body else None)

    def work(connection: sa.Connection) -> PriceChangeResponse:
        return describe_change(roll_back(connection, decider, price_id))

    return write.run_once(caller, work)


def _decide(
    decision: Callable[[sa.Connection, Decider, str, int | None], Suggestion],
    decider: Decider,
    suggestion_id: str,
    version: int | None,
) -> Callable[[sa.Connection], SuggestionDetailResponse]:
    """Return the work of one decision, to be done inside a transaction."""

    def work(connection: sa.Connection) -> SuggestionDetailResponse:
        return _describe(decision(connection, decider, suggestion_id, version))

    return work


def _decide_many(
    decider: Decider, action: str, body: ManyRequest
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
        )
        return _describe_bulk(result)

    return work


def _parse_statuses(texts: list[str] | None) -> tuple[str, ...]:
    """Return the statuses of a query, in which each text may join several by commas."""
    names = tuple(name for text in texts or () for name in text.split(",") if name)
    for name in names:
        if name not in SUGGESTION_STATUSES:
            raise UnknownName(name, SUGGESTION_STATUSES, kind="status", where="status")
    return names


def _to_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _describe_bulk(result: BulkResult) -> BulkResponse:
    refused = [
        RefusedResponse(id=refusal.suggestion_id, reason=str(refusal.error))
        for refusal in result.refused
    ]
    return BulkResponse(matched=result.matched, changed=len(result.changed), refused=refused)


def _describe(suggestion: Suggestion) -> SuggestionDetailResponse:
    currency = suggestion.currency
    reasons = {
        "waterfall": [_in_major_units(step, currency) for step in suggestion.waterfall],
        "details": _in_major_units(suggestion.details, currency),
    }
    return SuggestionDetailResponse.model_validate(_fields(suggestion) | reasons)


def _fields(suggestion: Suggestion) -> dict[str, object]:
    """Return the fields of a SuggestionResponse."""
    currency = suggestion.currency
    values = {name: getattr(suggestion, name, None) for name in SuggestionResponse.model_fields}
    for name in ("list_price", "current_price", "suggested_price"):
        values[name] = to_major(getattr(suggestion, f"{name}_minor"), currency)
    if suggestion.expected is not None:
        values["expected"] = {
            name: value if name == "units" else _amounts_to_major(value, currency)
            for name, value in suggestion.expected.items()
        }
    return values


def _in_major_units(values: Mapping[str, object], currency: str) -> dict[str, object]:
    """Return the values with each amount `NAME_minor` as a decimal `NAME`."""
    return {
        name.removesuffix("_minor"): _amounts_to_major(value, currency)
        if name.endswith("_minor")
        else value
        for name, value in values.items()
    }


def _amounts_to_major(value: object, currency: str) -> object:
    """Return amounts in minor units, at any depth of dicts, as decimals in major units."""
    if isinstance(value, dict):
        return {name: _amounts_to_major(inner, currency) for name, inner in value.items()}
    return to_major(round(value), currency) if isinstance(value, int | float) else value
