"""`/v1/price-locks`: prices that stay as they are until a time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.database.price_locks import PriceLock
from serving.field_types import Id, ReasonRequest, Text, Time
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.price_desk.locks import LockOrder, PriceLockService

router = APIRouter(
    prefix="/v1/price-locks", tags=["price desk"], dependencies=[Depends(check_text)]
)
Reader = Annotated[Caller, Depends(require("pricing.read"))]
Locker = Annotated[Caller, Depends(require("pricing.approve"))]
Locks = Annotated[PriceLockService, Depends(inject(PriceLockService))]


class LockRequest(BaseModel):
    """A price that must not change until `ends_at`, in one zone or in all."""

    model_config = ConfigDict(extra="forbid")

    item_id: Id
    zone: Text | None = Field(None, min_length=1, description="Every zone without it")
    reason: Text = Field(min_length=1, max_length=2_000)
    ends_at: Time


class PriceLockResponse(BaseModel):
    """A lock; `zone` is null for every zone."""

    id: str
    item_id: str
    zone: str | None
    reason: str
    locked_by: str
    begins_at: datetime
    ends_at: datetime
    unlocked_by: str | None


class PriceLocksResponse(BaseModel):
    """A page of locks, oldest first."""

    items: list[PriceLockResponse]
    next_cursor: str | None


@router.get("", dependencies=[Depends(allow_only("with_ended", "cursor", "limit"))])
def list_locks(
    _caller: Reader,
    locks: Locks,
    with_ended: bool = False,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> PriceLocksResponse:
    """Locks that have not ended, oldest first."""
    page = locks.list_locks(with_ended=with_ended, after=parse_cursor(cursor), limit=limit)
    return PriceLocksResponse(
        items=[_describe(lock) for lock in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.post("", dependencies=[Depends(allow_only())], response_model=PriceLockResponse)
def set_lock(caller: Locker, write: Write, locks: Locks, body: LockRequest) -> Response:
    """Locks a price: no run suggests another, no proposal is filed, no approval passes."""
    order = LockOrder(body.item_id, body.reason, body.ends_at, body.zone)

    def work(connection: sa.Connection) -> PriceLockResponse:
        return _describe(locks.set(connection, caller, order))

    return write.run_once(caller, work)


@router.post("/{lock_id}/unlock", response_model=PriceLockResponse)
def end_lock(
    lock_id: str, caller: Locker, write: Write, locks: Locks, body: ReasonRequest | None = None
) -> Response:
    """Lets a lock end now."""

    def work(connection: sa.Connection) -> PriceLockResponse:
        return _describe(locks.end(connection, caller, lock_id, body.reason if body else None))

    return write.run_once(caller, work)


def _describe(lock: PriceLock) -> PriceLockResponse:
    values = {name: getattr(lock, name) for name in PriceLockResponse.model_fields}
    return PriceLockResponse(**{**values, "zone": lock.zone or None})
