"""Promotions over HTTP: file, read, approve, reject, cancel, end; the calendar; what runs now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Response

from features.contracts.errors import UnknownName
from features.contracts.tables import DEFAULT_ZONE
from serving.database.audit_log import Decider
from serving.field_types import ReasonRequest
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_if_match, parse_instant
from serving.promotions import decisions
from serving.promotions.documents import (
    PHASES,
    CalendarResponse,
    CheckedPromotionResponse,
    FilePromotionRequest,
    LivePromotionsResponse,
    PromotionDetailResponse,
    PromotionEffectResponse,
    describe_calendar,
    describe_checked,
    describe_live,
    describe_promotion,
)
from serving.promotions.effect import PromotionEffectService
from serving.promotions.effect_response import describe_effect
from serving.promotions.repository import Promotion
from serving.promotions.service import Prepared, PromotionService

router = APIRouter(
    prefix="/v1/promotions",
    tags=["promotions"],
    dependencies=[Depends(check_text)],
    route_class=LargeBodyRoute,
)
USUAL_SPAN = timedelta(weeks=13)  # of a calendar

Reader = Annotated[Caller, Depends(require("pricing.read"))]
Proposer = Annotated[Caller, Depends(require("pricing.propose"))]
Approver = Annotated[Caller, Depends(require("pricing.approve"))]
Restorer = Annotated[Caller, Depends(require("pricing.rollback"))]
Storefront = Annotated[Caller, Depends(require("storefront"))]
Service = Annotated[PromotionService, Depends(inject(PromotionService))]
Effects = Annotated[PromotionEffectService, Depends(inject(PromotionEffectService))]
IfMatch = Annotated[
    str | None, Header(description="The ETag of the promotion as you read it; 412 when it changed")
]


@router.post("", response_model=PromotionDetailResponse)
def post_promotion(
    caller: Proposer, write: Write, service: Service, body: FilePromotionRequest
) -> Response:
    """Files a promotion with its what-if; somebody else must approve it."""
    decider = service.decider(caller, "pricing.propose", body.reason)

    def record(connection: sa.Connection, prepared: Prepared) -> PromotionDetailResponse:
        return describe_promotion(service.file(connection, decider, prepared))

    return write.run_outside(caller, lambda: service.prepare(body), record)


@router.post("/check")
def check_promotion(
    caller: Proposer, service: Service, body: FilePromotionRequest
) -> CheckedPromotionResponse:
    """What filing the same body would do, and what stands against it: nothing is written."""
    decider = service.decider(caller, "pricing.propose", body.reason)
    return describe_checked(service.check(decider, service.prepare(body)))


@router.get("", dependencies=[Depends(allow_only("from", "to", "zone", "phase", many=("phase",)))])
def get_calendar(
    _caller: Reader,
    service: Service,
    begin: Annotated[str | None, Query(alias="from", description="RFC 3339; now if unset")] = None,
    until: Annotated[
        str | None, Query(alias="to", description="RFC 3339; 13 weeks later if unset")
    ] = None,
    zone: str | None = None,
    phase: Annotated[
        list[str] | None,
        Query(description="planned, approved, live, ended or dropped; all but dropped if unset"),
    ] = None,
) -> CalendarResponse:
    """The promotions of a time, with the price changes of the ledger that begin in it."""
    for name in phase or ():
        if name not in PHASES:
            raise UnknownName(name, PHASES, kind="phase", where="phase")
    starts_at = parse_instant(begin, service.clock.now(), where="from")
    ends_at = parse_instant(until, starts_at + USUAL_SPAN, where="to")
    return describe_calendar(*service.read_calendar(starts_at, ends_at, zone, tuple(phase or ())))


@router.get("/live", dependencies=[Depends(allow_only("zone"))])
def get_live(
    _caller: Storefront, service: Service, zone: str = DEFAULT_ZONE
) -> LivePromotionsResponse:
    """The promotions that run now, with their items: the same for everybody."""
    return LivePromotionsResponse(
        items=[describe_live(promoted) for promoted in service.list_live(zone)]
    )


@router.get("/{promotion_id}", dependencies=[Depends(allow_only())])
def get_promotion(
    response: Response, promotion_id: str, _caller: Reader, service: Service
) -> PromotionDetailResponse:
    """One promotion with its items and its expected effect; the ETag is what `If-Match` asks
    for."""
    promotion = service.read_promotion(promotion_id)
    response.headers["ETag"] = f'"{promotion.version}"'
    return describe_promotion(promotion)


@router.get("/{promotion_id}/effect", dependencies=[Depends(allow_only())])
def get_effect(
    promotion_id: str, _caller: Reader, service: Service, effects: Effects
) -> PromotionEffectResponse:
    """What a promotion did: its what-if against what sold, with intervals; conversion, baskets,
    repeat purchase, return on what was put in."""
    service.settle()
    return describe_effect(effects.measure(promotion_id))


@router.post("/{promotion_id}/approve", response_model=PromotionDetailResponse)
def approve(
    promotion_id: str,
    caller: Approver,
    write: Write,
    service: Service,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Approves a promotion: its prices go into the ledger, live at once or scheduled."""
    decider = service.decider(caller, "pricing.approve", body.reason if body else None)
    version, runs = parse_if_match(if_match), service.find_runs(promotion_id)

    def work(connection: sa.Connection) -> PromotionDetailResponse:
        approved = decisions.approve(connection, decider, promotion_id, runs, version)
        return describe_promotion(approved)

    return write.run_once(caller, work)


@router.post("/{promotion_id}/reject", response_model=PromotionDetailResponse)
def reject(
    promotion_id: str,
    caller: Approver,
    write: Write,
    service: Service,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Rejects a promotion."""
    decider = service.decider(caller, "pricing.approve", body.reason if body else None)
    work = _decide(decisions.reject, decider, promotion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{promotion_id}/cancel", response_model=PromotionDetailResponse)
def cancel(
    promotion_id: str,
    caller: Proposer,
    write: Write,
    service: Service,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Takes back one's own promotion that nobody decided on."""
    decider = service.decider(caller, "pricing.propose", body.reason if body else None)
    work = _decide(decisions.cancel, decider, promotion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


@router.post("/{promotion_id}/end", response_model=PromotionDetailResponse)
def end(
    promotion_id: str,
    caller: Restorer,
    write: Write,
    service: Service,
    body: ReasonRequest | None = None,
    if_match: IfMatch = None,
) -> Response:
    """Ends an approved promotion now, or before it begins; the prices before return."""
    decider = service.decider(caller, "pricing.rollback", body.reason if body else None)
    work = _decide(decisions.end, decider, promotion_id, parse_if_match(if_match))
    return write.run_once(caller, work)


def _decide(
    decision: Callable[[sa.Connection, Decider, str, int | None], Promotion],
    decider: Decider,
    promotion_id: str,
    version: int | None,
) -> Callable[[sa.Connection], PromotionDetailResponse]:
    """Return the work of one decision, to be done inside a transaction."""

    def work(connection: sa.Connection) -> PromotionDetailResponse:
        return describe_promotion(decision(connection, decider, promotion_id, version))

    return work
