"""What the grids of the console read: rows as JSON and files, for people who signed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from serving.audit.repository import AuditFilter
from serving.audit.service import AuditService
from serving.console.queue_rows import build_row, read_filter, read_sort
from serving.console.texts import choose_texts
from serving.http.auth import identify_person
from serving.http.dependencies import inject
from serving.http.sheets import send_sheet
from serving.inventory.service import InventoryFilter, InventoryService
from serving.people.preferences import Preferences
from serving.people.sessions import ActiveSession
from serving.price_desk.service import PriceDeskService
from serving.spreadsheets import SheetFormat

router = APIRouter(prefix="/data")
Me = Annotated[ActiveSession, Depends(identify_person)]
Desk = Annotated[PriceDeskService, Depends(inject(PriceDeskService))]
Audit = Annotated[AuditService, Depends(inject(AuditService))]
Inventory = Annotated[InventoryService, Depends(inject(InventoryService))]
MAX_ROWS = 500


@router.get("/queue")
def list_queue(
    request: Request,
    me: Me,
    desk: Desk,
    zone: str,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
) -> dict[str, Any]:
    """Return a page of the queue as rows that are ready to be read."""
    me.caller.require("pricing.read")
    preferences = Preferences(desk.engine).read(me.person.name)
    accepted = request.headers.get("accept-language", "")
    texts = choose_texts(preferences, accepted, desk.settings.timezone)
    parameters, now = request.query_params, desk.clock.now()
    currency = desk.settings.zone(zone).currency
    page = desk.read_page(
        read_filter(parameters, zone, currency, now),
        read_sort(parameters),
        offset=offset,
        limit=limit,
    )
    net_share = desk.settings.zone(zone).net_share
    rows = [build_row(suggestion, texts, net_share, now) for suggestion in page.suggestions]
    return {"total": page.total, "rows": rows}


@router.get("/queue.{kind}")
def write_queue(request: Request, me: Me, desk: Desk, zone: str, kind: SheetFormat) -> Response:
    """Return everything that matches as a file for spreadsheets."""
    me.caller.require("pricing.read")
    currency = desk.settings.zone(zone).currency
    criteria = read_filter(request.query_params, zone, currency, desk.clock.now())
    return send_sheet(
        lambda path: desk.write_suggestions(criteria, path, kind),
        "price-suggestions",
        kind,
    )


@router.get("/stock.{kind}")
def write_stock(
    request: Request, me: Me, inventory: Inventory, zone: str, kind: SheetFormat
) -> Response:
    """Return the order list that an address filters as a file for spreadsheets."""
    me.caller.require("pricing.read")
    which = read_stock_filter(request.query_params)
    return send_sheet(lambda path: inventory.write_rows(zone, which, path, kind), "stock", kind)


@router.get("/audit.{kind}")
def write_audit(request: Request, me: Me, audit: Audit, desk: Desk, kind: SheetFormat) -> Response:
    """Return the actions that an address filters as a file for spreadsheets."""
    me.caller.require("audit.read")
    which = read_audit_filter(request.query_params, ZoneInfo(desk.settings.timezone))
    return send_sheet(lambda path: audit.write_sheet(which, path, kind), "audit", kind)


def read_audit_filter(parameters: Mapping[str, str], timezone: tzinfo) -> AuditFilter:
    """Return the filter of an address; `until` is the last day that counts."""
    since, until = (_read_day(parameters.get(name), timezone) for name in ("since", "until"))
    return AuditFilter(
        actor=parameters.get("actor") or None,
        action=parameters.get("action") or None,
        item_id=parameters.get("item") or None,
        about=parameters.get("about", "").strip() or None,
        since=since,
        until=None if until is None else until + timedelta(days=1),
    )


def _read_day(text: str | None, timezone: tzinfo) -> datetime | None:
    """Return the first instant of a day of the shop; None where the text is none."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return datetime.combine(day, time(), timezone).astimezone(UTC)


def read_stock_filter(parameters: Mapping[str, str]) -> InventoryFilter:
    """Return the filter of an address; what it does not know is left out."""
    show = parameters.get("show")
    return InventoryFilter(
        show="slow" if show == "slow" else "all" if show == "all" else "order",
        category=parameters.get("category") or None,
        item_class=parameters.get("class") or None,
        text=parameters.get("q") or None,
        sort=parameters.get("sort") or None,
    )
