"""`POST /v1/price-suggestions/decisions`: a file of decisions, checked row by row, made at once."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from features.contracts.money import to_major
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.http.sheets import SHEET_BODY
from serving.price_desk.decision_files import read_decisions
from serving.price_desk.filed_decisions import (
    DecidedFile,
    DecidedRow,
    DecisionOptions,
    decide_file,
    preview_file,
)
from serving.price_desk.service import PriceDeskService

router = APIRouter(
    prefix="/v1/price-suggestions",
    tags=["price desk"],
    dependencies=[Depends(check_text)],
    route_class=LargeBodyRoute,
)
_PARAMETERS = ("dry_run", "confirm_large_change", "effective_from", "expected_decided")
# What each row takes depends on what it says: its decision is refused without the scope.
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Desk = Annotated[PriceDeskService, Depends(inject(PriceDeskService))]


class DecidedRowResponse(BaseModel):
    """A row of the file; `refused` says why its suggestion stays as it is."""

    row: int
    id: str
    decision: str
    item_id: str | None
    current_price: str | None
    price: str | None
    refused: str | None


class DecidedFileResponse(BaseModel):
    """How many rows are decided, by decision, and each row."""

    decided: int
    decisions: dict[str, int]
    items: list[DecidedRowResponse]


async def read_body(request: Request) -> bytes:
    """A FastAPI dependency that returns the body as it came."""
    return await request.body()


@router.post(
    "/decisions",
    dependencies=[Depends(allow_only(*_PARAMETERS))],
    response_model=DecidedFileResponse,
    openapi_extra=SHEET_BODY,
)
def decide_by_file(
    caller: Reader,
    write: Write,
    desk: Desk,
    content: Annotated[bytes, Depends(read_body)],
    dry_run: bool = False,
    confirm_large_change: Annotated[
        bool, Query(description="Other prices that break a rule or move by much are meant")
    ] = False,
    effective_from: Annotated[str | None, Query(max_length=60)] = None,
    expected_decided: Annotated[
        int | None, Query(ge=0, description="Of the preview; 409 when it differs")
    ] = None,
) -> Response:
    """Makes the decisions of a CSV or XLSX file in one transaction, with the columns id, decision
    (approve, reject, edit), new_price and reason. Send it with `dry_run` first."""
    decisions = read_decisions(content)
    options = DecisionOptions(effective_from, confirm_large_change)
    if dry_run:
        preview = _describe(preview_file(desk, caller, decisions, options))
        return Response(preview.model_dump_json(), media_type="application/json")

    def work(connection: sa.Connection) -> DecidedFileResponse:
        decided = decide_file(connection, desk, caller, decisions, options, expected_decided)
        return _describe(decided)

    return write.run_once(caller, work)


def _describe(decided: DecidedFile) -> DecidedFileResponse:
    return DecidedFileResponse(
        decided=decided.n_decided,
        decisions=dict(decided.count_actions()),
        items=[_describe_row(row) for row in decided.rows],
    )


def _describe_row(row: DecidedRow) -> DecidedRowResponse:
    before, decision = row.before, row.decision
    price = None
    if before is not None:
        minor = before.suggested_price_minor if row.after is None else row.after
        price = to_major(minor, before.currency)
    return DecidedRowResponse(
        row=decision.row,
        id=decision.suggestion_id,
        decision=decision.action,
        item_id=None if before is None else before.item_id,
        current_price=None
        if before is None
        else to_major(before.current_price_minor, before.currency),
        price=price,
        refused=None if row.error is None else str(row.error),
    )
