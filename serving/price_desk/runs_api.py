"""`GET /v1/pricing-runs`: the runs of suggestions, and why each of their items keeps its price."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from serving.field_types import Id
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.http.sheets import SHEETS, Format, choose_format, send_sheet
from serving.price_desk.run_documents import (
    ItemOutcomesResponse,
    PricingRunResponse,
    RunComparisonResponse,
    RunItemResponse,
    describe_comparison,
    describe_item,
    describe_outcomes,
    describe_run,
)
from serving.price_desk.run_outcomes import RunItemFilter
from serving.price_desk.runs import PricingRunService

router = APIRouter(
    prefix="/v1/pricing-runs", tags=["price desk"], dependencies=[Depends(check_text)]
)
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Runs = Annotated[PricingRunService, Depends(inject(PricingRunService))]
_ITEM_FILTERS = ("outcome", "reason", "category", "item_id")


class PricingRunsResponse(BaseModel):
    """A page of runs, newest first."""

    items: list[PricingRunResponse]
    next_cursor: str | None


class RunItemsResponse(BaseModel):
    """A page of the items of a run, by id."""

    items: list[RunItemResponse]
    next_cursor: str | None


@router.get("", dependencies=[Depends(allow_only("zone", "cursor", "limit"))])
def list_runs(
    _caller: Reader,
    runs: Runs,
    zone: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> PricingRunsResponse:
    """The runs of `prices suggest`, newest first, with totals and why prices were kept."""
    before = parse_cursor(cursor) if cursor is not None else None
    page = runs.list_runs(zone, before=before, limit=limit)
    return PricingRunsResponse(
        items=[describe_run(run) for run in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.get("/items/{item_id}", dependencies=[Depends(allow_only("zone"))])
def explain_item(
    item_id: Id, _caller: Reader, runs: Runs, zone: str | None = None
) -> ItemOutcomesResponse:
    """What the newest runs decided about one item: the price that they suggested, or why not."""
    return describe_outcomes(runs.explain_item(item_id, zone))


@router.get("/{run_id}", dependencies=[Depends(allow_only())])
def get_run(run_id: str, _caller: Reader, runs: Runs) -> PricingRunResponse:
    """One run."""
    return describe_run(runs.read_run(run_id))


@router.get("/{run_id}/compare", dependencies=[Depends(allow_only("with", "cursor", "limit"))])
def compare_runs(
    run_id: str,
    _caller: Reader,
    runs: Runs,
    other: Annotated[str, Query(alias="with", description="The second run, of the same zone")],
    cursor: Annotated[str | None, Query(max_length=1_000)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> RunComparisonResponse:
    """Two runs side by side, and the items whose prices differ most between them."""
    skip = parse_cursor(cursor)
    return describe_comparison(runs.compare_runs(run_id, other, limit, skip=skip), skip=skip)


@router.get(
    "/{run_id}/items",
    dependencies=[Depends(allow_only(*_ITEM_FILTERS, "cursor", "limit", "format"))],
    response_model=RunItemsResponse,
    responses=SHEETS,
)
def list_items(
    request: Request,
    run_id: str,
    _caller: Reader,
    runs: Runs,
    outcome: Literal["suggested", "kept"] | None = None,
    reason: str | None = None,
    category: Annotated[
        str | None, Query(description="The category itself and all below it")
    ] = None,
    item_id: Id | None = None,
    cursor: Annotated[str | None, Query(max_length=1_000)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    format: Format = None,  # noqa: A002
) -> RunItemsResponse | Response:
    """What a run decided about each item with a forecast; as a file all that match."""
    criteria = RunItemFilter(outcome, reason, category, item_id)
    if sheet_format := choose_format(request, format, "cursor", "limit"):
        return send_sheet(
            lambda path: runs.write_items(run_id, criteria, path, sheet_format),
            "pricing-run",
            sheet_format,
        )
    run, page = runs.list_items(run_id, criteria, after=cursor or "", limit=limit)
    return RunItemsResponse(
        items=[describe_item(run, item) for item in page],
        next_cursor=page[-1].item_id if len(page) == limit else None,
    )
