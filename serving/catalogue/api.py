"""`/v1/items` and `/v1/stock`: the catalogue and the stock, written by the shop system."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from features.contracts.errors import BadInput, Conflict
from features.contracts.money import to_major
from features.contracts.tables import ATTRIBUTES, ITEMS, Kind
from features.sources.given_rows import RefusedRow
from serving.catalogue.writes import MAX_ROWS, CatalogueWriter, StockResult, WriteResult
from serving.field_types import Id
from serving.http.auth import Caller, require
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text

router = APIRouter(
    prefix="/v1",
    tags=["catalogue"],
    route_class=LargeBodyRoute,
    dependencies=[Depends(check_text), Depends(allow_only())],
)
Writer = Annotated[CatalogueWriter, Depends(inject(CatalogueWriter))]
Keeper = Annotated[Caller, Depends(require("catalogue"))]
_COLUMNS = "columns of the table items; money in major units, unknown names become attributes"


class ItemRequest(BaseModel):
    """An item with the columns of the table `items`; other fields are kept as attributes."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "title": "Linen shirt",
                    "category": "Fashion > Tops > Shirts",
                    "brand": "Alba",
                    "list_price": "49.00",
                    "stock_on_hand": 12,
                    "color": "red",
                }
            ]
        },
    )

    item_id: str | None = Field(None, description="That of the address; may be left out")


class ItemsRequest(BaseModel):
    """Whole items; each replaces the one of the same id."""

    model_config = ConfigDict(extra="forbid")

    items: list[dict[str, object]] = Field(
        min_length=1, max_length=MAX_ROWS, description=f"Each with item_id and other {_COLUMNS}"
    )


class StockRequest(BaseModel):
    """Counts with the columns of the table `stock`; one without `at` is of now."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"stock": [{"item_id": "a1", "zone": "default", "on_hand": 12}]}]
        },
    )

    stock: list[dict[str, object]] = Field(min_length=1, max_length=MAX_ROWS)


class RefusedRowResponse(BaseModel):
    """A row that was not stored: its position in the request, from 0, and why."""

    index: int
    item_id: str | None
    reason: str


class ItemsResponse(BaseModel):
    """What became of the items of a call."""

    new: int
    changed: int
    unchanged: int
    refused: list[RefusedRowResponse]
    notes: list[str] = Field(description="What is accepted and may not be what was meant")


class StockResponse(BaseModel):
    """What became of the counts of a call; `replaced` had the same item, zone and time."""

    new: int
    replaced: int
    unchanged: int
    refused: list[RefusedRowResponse]
    notes: list[str]


class CatalogueItemResponse(BaseModel):
    """An item as it is stored, attributes beside its columns; and what the write did."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    change: str | None = Field(None, description="new, changed or unchanged; null when read")
    notes: list[str] = []


@router.get("/items/{item_id}")
def get_item(writer: Writer, _caller: Keeper, item_id: Id) -> CatalogueItemResponse:
    """The item as it is stored."""
    return _describe_item(writer.find(item_id), writer.settings.currency)


@router.put("/items/{item_id}", response_model=CatalogueItemResponse)
def put_item(
    writer: Writer, caller: Keeper, write: Write, item_id: Id, body: ItemRequest
) -> Response:
    """Makes the item, or replaces all of its columns. 422 where a value is bad, 409 where the
    stored row has a later `updated_at`."""
    row = _read_row(item_id, body)
    return _write_one(writer, caller, write, item_id, lambda: writer.put([row]))


@router.patch("/items/{item_id}", response_model=CatalogueItemResponse)
def patch_item(
    writer: Writer, caller: Keeper, write: Write, item_id: Id, body: ItemRequest
) -> Response:
    """Changes the columns that are given; null empties one."""
    row = _read_row(item_id, body)
    return _write_one(writer, caller, write, item_id, lambda: writer.patch(item_id, row))


@router.delete("/items/{item_id}", response_model=CatalogueItemResponse)
def delete_item(writer: Writer, caller: Keeper, write: Write, item_id: Id) -> Response:
    """Takes the item off sale: its `status` becomes archived. Its sales and prices keep its
    name."""
    return _write_one(writer, caller, write, item_id, lambda: writer.archive(item_id))


@router.post("/items", response_model=ItemsResponse)
def post_items(writer: Writer, caller: Keeper, write: Write, body: ItemsRequest) -> Response:
    """Stores whole items; good ones are stored whatever the others are."""

    def record(connection: sa.Connection, result: WriteResult) -> ItemsResponse:
        writer.record(connection, caller.id, result)
        n_new = sum(change.is_new for change in result.changes)
        return ItemsResponse(
            new=n_new,
            changed=len(result.changes) - n_new,
            unchanged=result.n_unchanged,
            refused=_describe_refused(result.refused, body.items),
            notes=result.notes,
        )

    return write.run_outside(caller, lambda: writer.put(body.items), record)


@router.put("/stock", response_model=StockResponse)
def put_stock(writer: Writer, caller: Keeper, write: Write, body: StockRequest) -> Response:
    """Stores counts; of an item the latest one of its zone counts."""

    def record(connection: sa.Connection, result: StockResult) -> StockResponse:
        writer.record(connection, caller.id, result)
        return StockResponse(
            new=result.n_new,
            replaced=result.n_replaced,
            unchanged=result.n_unchanged,
            refused=_describe_refused(result.refused, body.stock),
            notes=list(result.notes),
        )

    return write.run_outside(caller, lambda: writer.put_stock(body.stock), record)


def _read_row(item_id: str, body: ItemRequest) -> dict[str, object]:
    row = body.model_dump(exclude_unset=True)
    if row.setdefault("item_id", item_id) != item_id:
        raise BadInput(
            f"the body is of {row['item_id']!r}", where="item_id", hint="Leave it out of the body"
        )
    return row


def _write_one(
    writer: CatalogueWriter,
    caller: Caller,
    write: Write,
    item_id: str,
    work: Callable[[], WriteResult],
) -> Response:
    """Do the write of one item and return its document; raise what is wrong with its values."""

    def write_item() -> WriteResult:
        result = work()
        for refused in result.refused:
            error = Conflict if refused.is_outdated else BadInput
            raise error(refused.reason, where=f"item {item_id!r}")
        return result

    def record(connection: sa.Connection, result: WriteResult) -> CatalogueItemResponse:
        writer.record(connection, caller.id, result)
        change = "unchanged"
        if result.changes:
            change = "new" if result.changes[0].is_new else "changed"
        currency = writer.settings.currency
        return _describe_item(writer.find(item_id), currency, change, result.notes)

    return write.run_outside(caller, write_item, record)


def _describe_item(
    row: Mapping[str, object], currency: str, change: str | None = None, notes: Sequence[str] = ()
) -> CatalogueItemResponse:
    values: dict[str, object] = json.loads(str(row[ATTRIBUTES] or "{}"))
    for column in ITEMS.columns:
        value = row[column.stored_name]
        if column.kind is Kind.MONEY and isinstance(value, int):
            value = to_major(value, currency)
        values[column.name] = value
    return CatalogueItemResponse.model_validate({**values, "change": change, "notes": list(notes)})


def _describe_refused(
    refused: Sequence[RefusedRow], rows: Sequence[Mapping[str, object]]
) -> list[RefusedRowResponse]:
    return [
        RefusedRowResponse(
            index=row.index,
            item_id=_read_id(rows[row.index]),
            reason=row.reason.encode("utf-8", "replace").decode(),
        )
        for row in refused
    ]


def _read_id(row: Mapping[str, object]) -> str | None:
    item_id = row.get("item_id")
    return item_id.encode("utf-8", "replace").decode() if isinstance(item_id, str) else None
