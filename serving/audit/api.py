"""`GET /v1/audit`: who did what, and whether the log is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from features.contracts.clock import parse_time
from features.contracts.errors import BadInput
from serving.audit.repository import AuditFilter, AuditRecord
from serving.audit.service import AuditService
from serving.database.audit_log import Head
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.http.sheets import SHEETS, Format, choose_format, send_sheet

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[Depends(check_text)])
Audit = Annotated[AuditService, Depends(inject(AuditService))]
Auditor = Annotated[Caller, Depends(require("audit.read"))]


class ActionResponse(BaseModel):
    """One action; `hash` covers the action before and what is stored: not the names, nor what is
    looked up of the subject."""

    seq: int
    at: datetime = Field(description="System time")
    business_at: datetime | None = Field(description="The time of the shop's prices, where noted")
    actor: str
    actor_name: str
    actor_kind: str = Field(description="person, key, rule, system or operator")
    action: str
    subject_type: str
    subject_id: str
    suggestion_id: str | None = Field(description="Of a rollback, whose price it took back")
    item_id: str | None
    title: str | None
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


_FILTERS = ("subject_id", "actor", "action", "subject_type", "item_id", "since", "until")


@router.get(
    "",
    dependencies=[Depends(allow_only(*_FILTERS, "after", "cursor", "limit", "format"))],
    response_model=AuditResponse,
    responses=SHEETS,
)
def get_audit(
    request: Request,
    audit: Audit,
    _caller: Auditor,
    subject_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject_type: str | None = None,
    item_id: str | None = None,
    since: Annotated[str | None, Query(description="System time, included")] = None,
    until: Annotated[str | None, Query(description="System time, not included")] = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    format: Format = None,  # noqa: A002
) -> AuditResponse | Response:
    """Actions in order; as a file all that match."""
    which = AuditFilter(
        subject_id=subject_id,
        actor=actor,
        action=action,
        subject_type=subject_type,
        item_id=item_id,
        since=None if since is None else parse_time(since.replace(" ", "+"), where="since"),
        until=None if until is None else parse_time(until.replace(" ", "+"), where="until"),
    )
    if sheet_format := choose_format(request, format, "after", "cursor", "limit"):
        return send_sheet(
            lambda path: audit.write_sheet(which, path, sheet_format), "audit", sheet_format
        )
    page = audit.page(
        which,
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
