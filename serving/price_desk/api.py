"""The price desk over HTTP: list, read, approve, reject, edit, in bulk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.errors import UnknownName
from features.contracts.money import to_major
from serving.database.audit_log import Decider
from serving.database.tables import SUGGESTION_STATUSES
from serving.http.auth import Caller, require
from serving.http.idempotency import Attempt, attempt, run_once
from serving.http.parameters import (
    cursor_number,
    entity_version,
    only,
    price_law_of,
    readable,
)
from serving.http.types import ReasonRequest, Text, Time
from serving.price_desk import service as decide
from serving.price_desk.repository import Suggestion, SuggestionFilter

router = APIRouter(
    prefix="/v1/price-suggestions", tags=["price desk"], dependencies=[Depends(readable)]
)
_FILTERS = ("status", "category", "min_change", "zone", "item_id", "evidence_grade", "run_id")

Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Approver = Annotated[Caller, Depends(require("pricing.approve"))]
Tried = Annotated[Attempt, Depends(attempt)]
IfMatch = Annotated[
    str | None, Header(description="The ETag of the suggestion as you read it; 412 when it changed")
]


class SuggestionResponse(BaseModel):
    """A price suggestion. Money is a decimal in major units; `expected` counts over the whole
    horizon of the run."""

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


class BulkRequest(ReasonRequest):
    """A decision on many suggestions in one transaction: those of `filter`, or those of `ids`."""

    action: Literal["approve", "reject"]
    filter: FilterRequest | None = None
    ids: list[Text] | None = Field(None, max_length=100_000)
    expected_matched: int | None = Field(None, ge=0, description="409 when another number matches")


class RefusedResponse(BaseModel):
    """A suggestion that was left as it was."""

    id: str
    reason: str


class BulkResponse(BaseModel):
    """How many matched, how many were changed, and which were refused."""

    matched: int
    changed: int
    refused: list[RefusedResponse]


@router.get("", dependencies=[Depends(only(*_FILTERS, "cursor", "limit"))])
def list_suggestions(
    request: Request,
    _caller: Reader,
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
    which = SuggestionFilter(
        status=_statuses(status),
        category=category,
        min_change=min_change,
        zone=zone,
        item_ids=tuple(item_id or ()),
        evidence_grade=evidence_grade,
        run_id=run_id,
    )
    state = request.app.state
    found = decide.queue(
        state.engine,
        which,
        after=cursor_number(cursor),
        limit=limit,
        now=state.clock.now(),
        at=state.system_clock.now(),
    )
    more = str(found[-1].seq) if len(found) == limit else None
    return SuggestionsResponse(
        items=[SuggestionResponse(**_fields(each)) for each in found], next_cursor=more
    )


@router.get("/{suggestion_id}", dependencies=[Depends(only())])
def get_suggestion(
    request: Request, response: Response, suggestion_id: str, _caller: Reader
) -> SuggestionDetailResponse:
    """One suggestion with its waterfall; the ETag is what `If-Match` asks for."""
    state = request.app.state
    found = decide.read(
        state.engine, suggestion_id, now=state.clock.now(), at=state.system_clock.now()
    )
    response.headers["ETag"] = f'"{found.version}"'
    return _detail(found)


@router.post("/bulk", response_model=BulkResponse)
def bulk(request: Request, caller: Approver, tried: Tried, body: BulkRequest) -> Response:
    """Approves or rejects many in one transaction; what cannot be decided is named with its
    reason."""
    which = None if body.filter is None else _filter(body.filter)

    def work(connection: sa.Connection) -> BulkResponse:
        done = decide.decide_many(
            connection,
            _decider(request, caller, body.reason),
            body.action,
            ids=body.ids,
            which=which,
            expected_matched=body.expected_matched,
        )
        refused = [
            RefusedResponse(id=each.suggestion_id, reason=str(each.error)) for each in done.refused
        ]
        return BulkResponse(matched=done.matched, changed=len(done.changed), refused=refused)

    return run_once(request, caller, tried, work)


@router.post("/{suggestion_id}/approve", response_model=SuggestionDetailResponse)
def approve(
    request: Request,
    suggestion_id: str,
    caller: Approver,
    tried: Tried,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Puts the suggested price into the ledger: live at once, or scheduled."""
    return _single(request, caller, tried, suggestion_id, body, if_match, decide.approve)


@router.post("/{suggestion_id}/reject", response_model=SuggestionDetailResponse)
def reject(
    request: Request,
    suggestion_id: str,
    caller: Approver,
    tried: Tried,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Turns the suggestion down."""
    return _single(request, caller, tried, suggestion_id, body, if_match, decide.reject)


@router.post("/{suggestion_id}/edit", response_model=SuggestionDetailResponse)
def edit(
    request: Request,
    suggestion_id: str,
    caller: Proposer,
    tried: Tried,
    body: EditRequest,
    if_match: IfMatch = None,
) -> Response:
    """Suggests another price; someone else must approve it."""
    version = entity_version(if_match)

    def work(connection: sa.Connection) -> SuggestionDetailResponse:
        decider = _decider(request, caller, body.reason)
        changed = decide.edit(
            connection,
            decider,
            suggestion_id,
            body.suggested_price,
            version=version,
            effective_from=body.effective_from,
            confirmed=body.confirm_large_change,
        )
        return _detail(changed)

    return run_once(request, caller, tried, work)


def _single(
    request: Request,
    caller: Caller,
    tried: Attempt,
    suggestion_id: str,
    body: ReasonRequest | None,
    if_match: str | None,
    decision: Callable[[sa.Connection, Decider, str, int | None], Suggestion],
) -> Response:
    version = entity_version(if_match)
    decider = _decider(request, caller, body.reason if body else None)
    return run_once(
        request,
        caller,
        tried,
        lambda connection: _detail(decision(connection, decider, suggestion_id, version)),
    )


def _decider(request: Request, caller: Caller, reason: str | None) -> Decider:
    state = request.app.state
    law_of = price_law_of(request)
    return Decider(caller.key_id, state.clock.now(), state.system_clock.now(), reason, law_of)


def _statuses(given: list[str] | None) -> tuple[str, ...]:
    names = tuple(name for text in given or () for name in text.split(",") if name)
    for name in names:
        if name not in SUGGESTION_STATUSES:
            raise UnknownName(name, SUGGESTION_STATUSES, kind="status", where="status")
    return names


def _filter(body: FilterRequest) -> SuggestionFilter:
    return SuggestionFilter(
        status=_statuses(_listed(body.status)),
        category=body.category,
        min_change=body.min_change,
        zone=body.zone,
        item_ids=tuple(_listed(body.item_id)),
        evidence_grade=body.evidence_grade,
        run_id=body.run_id,
    )


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _fields(suggestion: Suggestion) -> dict[str, Any]:
    currency = suggestion.currency
    values = {name: getattr(suggestion, name, None) for name in SuggestionResponse.model_fields}
    for name in ("list_price", "current_price", "suggested_price"):
        values[name] = to_major(getattr(suggestion, f"{name}_minor"), currency)
    if suggestion.expected is not None:
        values["expected"] = {
            name: value if name == "units" else _major(value, currency)
            for name, value in suggestion.expected.items()
        }
    return values


def _detail(suggestion: Suggestion) -> SuggestionDetailResponse:
    currency = suggestion.currency
    waterfall = [_shown(step, currency) for step in suggestion.waterfall]
    return SuggestionDetailResponse(
        **_fields(suggestion), waterfall=waterfall, details=_shown(suggestion.details, currency)
    )


def _shown(values: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """The values with each amount `NAME_minor` as a decimal `NAME`."""
    return {
        name.removesuffix("_minor"): _major(value, currency) if name.endswith("_minor") else value
        for name, value in values.items()
    }


def _major(value: Any, currency: str) -> Any:
    """Amounts in minor units, however deep they lie, as decimals in major units."""
    if isinstance(value, dict):
        return {name: _major(inner, currency) for name, inner in value.items()}
    return to_major(round(value), currency) if isinstance(value, int | float) else value
