"""`GET /v1/audit`: who did what, and whether the log is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from features.contracts.errors import BadInput
from serving.audit.repository import AuditFilter, AuditRecord
from serving.audit.service import AuditService
from serving.database.audit_log import Head
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[Depends(check_text)])
Audit = Annotated[AuditService, Depends(inject(AuditService))]
Auditor = Annotated[Caller, Depends(require("audit.read"))]


class ActionResponse(BaseModel):
    """One action; `hash` covers it and the action before."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject_type: str
    subject_id: str
    details: dict[str, object]
    hash: str


class HeadResponse(BaseModel):
    """The end of the chain: note it elsewhere, and hand it to `/v1/audit/verification` later."""

    seq: int
    hash: str


class AuditResponse(BaseModel):
    """A page of actions, oldest first."""

    items: list[ActionResponse]
    next_cursor: str | None
    head: HeadResponse


class VerificationResponse(BaseModel):
    """Whether every row fits the one before; `broken_at` is the first that does not."""

    intact: bool
    rows: int
    broken_at: int | None
    head: HeadResponse


@router.get(
    "",
    dependencies=[Depends(allow_only("subject_id", "actor", "action", "after", "cursor", "limit"))],
)
def get_audit(
    audit: Audit,
    _caller: Auditor,
    subject_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> AuditResponse:
    """Actions in order."""
    page = audit.page(
        AuditFilter(subject_id, actor, action),
        after=max(after, parse_cursor(cursor)),
        limit=limit,
    )
    items = [_describe_record(record) for record in page.records]
    next_cursor = str(items[-1].seq) if len(items) == limit else None
    return AuditResponse(items=items, next_cursor=next_cursor, head=_describe_head(page.head))


@router.get("/verification", dependencies=[Depends(allow_only("anchor_seq", "anchor_hash"))])
def verify(
    audit: Audit,
    _caller: Auditor,
    anchor_seq: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    anchor_hash: str | None = None,
) -> VerificationResponse:
    """Walks the whole chain; an anchor noted earlier also shows whether its end was cut off."""
    if (anchor_seq is None) != (anchor_hash is None):
        raise BadInput("an anchor is anchor_seq and anchor_hash together", where="query")
    anchor = None if anchor_seq is None or anchor_hash is None else Head(anchor_seq, anchor_hash)
    verification = audit.verify(anchor)
    return VerificationResponse(
        intact=verification.intact,
        rows=verification.rows,
        broken_at=verification.broken_at,
        head=_describe_head(verification.head),
    )


def _describe_record(record: AuditRecord) -> ActionResponse:
    return ActionResponse.model_validate(record, from_attributes=True)


def _describe_head(head: Head) -> HeadResponse:
    return HeadResponse(seq=head.seq, hash=head.hash)
