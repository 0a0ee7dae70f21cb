"""`GET /v1/audit`: who did what, and whether the record is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from features.contracts.errors import BadInput
from serving.audit import service as audit
from serving.audit.repository import Head
from serving.http.auth import Caller, require
from serving.http.parameters import cursor_number, only, readable

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[Depends(readable)])
Auditor = Annotated[Caller, Depends(require("audit.read"))]


class DeedResponse(BaseModel):
    """One deed; `hash` covers it and the deed before."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject_type: str
    subject_id: str
    details: dict[str, Any]
    hash: str


class HeadResponse(BaseModel):
    """The end of the chain: note it elsewhere, and hand it to `/v1/audit/verification` later."""

    seq: int
    hash: str


class AuditResponse(BaseModel):
    """A page of deeds, oldest first."""

    items: list[DeedResponse]
    next_cursor: str | None
    head: HeadResponse


class VerificationResponse(BaseModel):
    """Whether every row fits the one before; `broken_at` is the first that does not."""

    intact: bool
    rows: int
    broken_at: int | None
    head: HeadResponse


@router.get(
    "", dependencies=[Depends(only("subject_id", "actor", "action", "after", "cursor", "limit"))]
)
def get_audit(
    request: Request,
    _caller: Auditor,
    subject_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> AuditResponse:
    """Deeds in order."""
    found = audit.page(
        request.app.state.engine,
        after=max(after, cursor_number(cursor)),
        limit=limit,
        subject_id=subject_id,
        actor=actor,
        action=action,
    )
    names = tuple(DeedResponse.model_fields)
    items = [
        DeedResponse(**{name: getattr(record, name) for name in names}) for record in found.records
    ]
    more = str(items[-1].seq) if len(items) == limit else None
    return AuditResponse(items=items, next_cursor=more, head=_head(found.head))


@router.get("/verification", dependencies=[Depends(only("anchor_seq", "anchor_hash"))])
def verify(
    request: Request,
    _caller: Auditor,
    anchor_seq: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    anchor_hash: str | None = None,
) -> VerificationResponse:
    """Walks the whole chain; an anchor noted earlier also shows whether its end was cut off."""
    if (anchor_seq is None) != (anchor_hash is None):
        raise BadInput("an anchor is anchor_seq and anchor_hash together", where="query")
    anchor = None if anchor_seq is None or anchor_hash is None else Head(anchor_seq, anchor_hash)
    found = audit.verify(request.app.state.engine, anchor)
    return VerificationResponse(
        intact=found.intact, rows=found.rows, broken_at=found.broken_at, head=_head(found.head)
    )


def _head(head: Head) -> HeadResponse:
    return HeadResponse(seq=head.seq, hash=head.hash)
