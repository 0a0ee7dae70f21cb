"""What price changes brought, over HTTP: one change, or all since a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from features.contracts.local_times import parse_local_time
from serving.effects.change_sheet import tabulate_effects
from serving.effects.documents import (
    ChangeEffectResponse,
    EffectsResponse,
    describe_change_effect,
    describe_effects,
)
from serving.effects.repository import ChangeFilter
from serving.effects.service import EffectService
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text
from serving.http.sheets import SHEETS, Format, choose_format, send_sheet
from serving.spreadsheets import write_sheet

router = APIRouter(tags=["effects"], dependencies=[Depends(check_text)])
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Effects = Annotated[EffectService, Depends(inject(EffectService))]


@router.get(
    "/v1/effects",
    dependencies=[Depends(allow_only("since", "zone", "category", "run_id", "format"))],
    response_model=EffectsResponse,
    responses=SHEETS,
)
def get_effects(
    request: Request,
    _caller: Reader,
    effects: Effects,
    since: Annotated[
        str, Query(description="When the changes began at the earliest: a date or RFC 3339")
    ],
    zone: str | None = None,
    category: Annotated[str | None, Query(description="Itself and all below it")] = None,
    run_id: Annotated[str | None, Query(description="A run or a proposal")] = None,
    format: Format = None,  # noqa: A002
) -> EffectsResponse | Response:
    """What sold against the forecasts that the approvals froze: by change, batch and category. As
    a file, one row per change. 422 for more changes than one answer has, and for a zone that nobody
    knows."""
    timezone = effects.settings.find_timezone(zone or "default")
    criteria = ChangeFilter(
        since=parse_local_time(since, effects.clock.now(), timezone, where="since"),
        zone=zone,
        category=category,
        run_id=run_id,
    )
    document = describe_effects(effects.measure_listed(criteria), effects.list_warnings(zone))
    if sheet_format := choose_format(request, format):
        sheet = tabulate_effects(document)
        return send_sheet(
            lambda path: write_sheet(sheet, path, sheet_format), "effects", sheet_format
        )
    return document


@router.get("/v1/price-changes/{price_id}/effect", dependencies=[Depends(allow_only())])
def get_change_effect(price_id: str, _caller: Reader, effects: Effects) -> ChangeEffectResponse:
    """What a price change brought against keeping the price, with intervals of 80 %."""
    measured = effects.measure_change(price_id)
    return describe_change_effect(measured.changes[0], measured.sets)
