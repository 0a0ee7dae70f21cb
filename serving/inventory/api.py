"""`GET /v1/inventory`: what to order, and how long the stock lasts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from features.contracts.tables import DEFAULT_ZONE
from serving.field_types import ModelResponse, Name, Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.inventory.service import InventoryFilter, InventoryService, Show

router = APIRouter(prefix="/v1/inventory", tags=["inventory"])
Inventories = Annotated[InventoryService, Depends(inject(InventoryService))]
_NAMES = ("zone", "category", "show", "cursor", "limit")


class InventoryRowResponse(BaseModel):
    """One item; units. on_hand, days_of_cover and order are null where no stock is known."""

    item_id: str
    title: str | None
    category: str
    weekly_units: float
    on_hand: float | None
    on_order: float | None = Field(
        description="null where the latest count does not say: nothing is assumed to be"
    )
    days_of_cover: float | None = Field(description="null also where nothing is expected to sell")
    reorder_point: float
    safety_stock: float
    order_up_to: float
    order: float | None = Field(
        description="order_up_to less on_hand and on_order, once these reach reorder_point"
    )
    abc: str
    xyz: str
    slow_mover: bool
    lead_time_days: float
    service_level: float


class InventoryResponse(BaseModel):
    """A page of the replenishment list: what must be ordered first, then by class and revenue."""

    zone: str
    items: list[InventoryRowResponse]
    next_cursor: str | None
    matched: int
    n_to_order: int = Field(description="Of the whole zone")
    classes: dict[str, int] = Field(description="Items of the whole zone by ABC and XYZ class")
    notes: list[str]
    model: ModelResponse


@router.get("", dependencies=[Depends(check_text), Depends(allow_only(*_NAMES))])
def get_inventory(
    _caller: Annotated[Caller, Depends(require("pricing.read"))],
    inventories: Inventories,
    zone: Name = DEFAULT_ZONE,
    category: Annotated[
        Text | None, Query(description="Only this category and those below it")
    ] = None,
    show: Annotated[Show, Query(description="all, what to order, or slow movers")] = "all",
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> InventoryResponse:
    """The replenishment list of a zone. 404 when no item of it has a forecast."""
    version, inventory = inventories.list_items(zone)
    rows = InventoryFilter(show, category).select(inventory.rows)
    start = parse_cursor(cursor)
    end = start + limit
    return InventoryResponse(
        zone=zone,
        items=[InventoryRowResponse(**asdict(row)) for row in rows[start:end]],
        next_cursor=str(end) if end < len(rows) else None,
        matched=len(rows),
        n_to_order=inventory.n_to_order,
        classes=dict(inventory.classes),
        notes=list(inventory.notes),
        model=ModelResponse(name=version.name, version=version.version),
    )
