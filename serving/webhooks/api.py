"""`/v1/webhooks`: who is told of price changes and decisions, and what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.field_types import Text
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text, parse_cursor
from serving.webhooks.repository import Delivery, Webhook
from serving.webhooks.service import (
    LONGEST_OVERLAP,
    USUAL_OVERLAP,
    WebhookService,
    WebhookState,
)

_SCOPE = "pricing.manage"
router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=[Depends(check_text)])
Hooks = Annotated[WebhookService, Depends(inject(WebhookService))]
Manager = Annotated[Caller, Depends(require("pricing.manage"))]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhookRequest(_Request):
    """A receiver and what it is told."""

    url: Text = Field(max_length=2_000)
    events: list[Text] = Field(
        max_length=20,
        description="price_changes, suggestions, promotions, stop_switch, batch_warnings",
    )


class RotateRequest(_Request):
    """How long the old secret signs too."""

    overlap_hours: float = Field(
        USUAL_OVERLAP / timedelta(hours=1),
        ge=0,
        le=LONGEST_OVERLAP / timedelta(hours=1),
        description="0: it ends at once",
    )


class ReplayRequest(_Request):
    """Which deliveries to send again."""

    ids: list[Text] | None = Field(
        None, max_length=10_000, description="Delivered or dead ones; all dead ones without it"
    )


class WebhookResponse(BaseModel):
    """A receiver."""

    id: str
    url: str
    events: list[str]
    created_at: datetime
    created_by: str
    previous_until: datetime | None = Field(
        description="Until when the secret before the present one signs, or signed, too"
    )


class NewWebhookResponse(WebhookResponse):
    """A receiver with the new secret of its signatures, which is shown this once."""

    secret: str


class WebhookStateResponse(WebhookResponse):
    """A receiver, and how far its deliveries are."""

    waiting: int
    dead: int
    next_attempt_at: datetime | None
    error: str | None = Field(description="Why the delivery that is tried now has not arrived")


class WebhooksResponse(BaseModel):
    """Every receiver, oldest first."""

    items: list[WebhookStateResponse]
    next_cursor: None = None


class DeliveryResponse(BaseModel):
    """A message with the rows first_seq to last_seq of a log. `id` is its idempotency key."""

    id: str
    kind: str
    first_seq: int
    last_seq: int
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    answer_status: int | None
    error: str | None


class DeliveriesResponse(BaseModel):
    """A page of deliveries in the order of sending."""

    items: list[DeliveryResponse]
    next_cursor: str | None


class ReplayResponse(BaseModel):
    """How many deliveries wait to be sent again."""

    replayed: int


@router.post("", response_model=NewWebhookResponse)
def add_webhook(caller: Manager, write: Write, hooks: Hooks, body: NewWebhookRequest) -> Response:
    """Adds a receiver of what happens from now on."""
    caller.require_everywhere(_SCOPE)

    def work(connection: sa.Connection) -> NewWebhookResponse:
        webhook = hooks.add(connection, body.url, body.events, actor=caller.id)
        return NewWebhookResponse.model_validate(webhook, from_attributes=True)

    return write.run_once(caller, work)


@router.get("", dependencies=[Depends(allow_only())])
def list_webhooks(_caller: Manager, hooks: Hooks) -> WebhooksResponse:
    """Every receiver, without its secret."""
    return WebhooksResponse(items=[_describe_state(state) for state in hooks.list_webhooks()])


@router.delete("/{webhook_id}", response_model=WebhookResponse)
def remove_webhook(webhook_id: str, caller: Manager, write: Write, hooks: Hooks) -> Response:
    """Removes a receiver with all that waits for it."""
    caller.require_everywhere(_SCOPE)

    def work(connection: sa.Connection) -> WebhookResponse:
        return _describe(hooks.remove(connection, webhook_id, actor=caller.id))

    return write.run_once(caller, work)


@router.get(
    "/{webhook_id}/deliveries", dependencies=[Depends(allow_only("status", "cursor", "limit"))]
)
def list_deliveries(
    webhook_id: str,
    _caller: Manager,
    hooks: Hooks,
    status: Annotated[str | None, Query(description="waiting, delivered or dead")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> DeliveriesResponse:
    """Deliveries to a receiver; those that arrived are kept for 30 days."""
    page = hooks.list_deliveries(webhook_id, status, after=parse_cursor(cursor), limit=limit)
    return DeliveriesResponse(
        items=[_describe_delivery(delivery) for delivery in page],
        next_cursor=str(page[-1].seq) if len(page) == limit else None,
    )


@router.post("/{webhook_id}/rotate", response_model=NewWebhookResponse)
def rotate_secret(
    webhook_id: str,
    caller: Manager,
    write: Write,
    hooks: Hooks,
    body: RotateRequest | None = None,
) -> Response:
    """Makes a new secret. Messages are signed with both for `overlap_hours`, then with it alone."""
    caller.require_everywhere(_SCOPE)
    overlap = timedelta(hours=(body or RotateRequest()).overlap_hours)

    def work(connection: sa.Connection) -> NewWebhookResponse:
        webhook = hooks.rotate(connection, webhook_id, overlap, actor=caller.id)
        return NewWebhookResponse.model_validate(webhook, from_attributes=True)

    return write.run_once(caller, work)


@router.post("/{webhook_id}/replay", response_model=ReplayResponse)
def replay(
    webhook_id: str,
    caller: Manager,
    write: Write,
    hooks: Hooks,
    body: ReplayRequest | None = None,
) -> Response:
    """Sends deliveries again: all dead ones, or those named. Their ids stay the same."""
    caller.require_everywhere(_SCOPE)

    def work(connection: sa.Connection) -> ReplayResponse:
        ids = body.ids if body else None
        return ReplayResponse(replayed=hooks.replay(connection, webhook_id, ids, actor=caller.id))

    return write.run_once(caller, work)


def _describe(webhook: Webhook) -> WebhookResponse:
    return WebhookResponse.model_validate(webhook, from_attributes=True)


def _describe_state(state: WebhookState) -> WebhookStateResponse:
    current = state.current
    return WebhookStateResponse(
        **_describe(state.webhook).model_dump(),
        waiting=state.n_waiting,
        dead=state.n_dead,
        next_attempt_at=current.next_attempt_at if current else None,
        error=current.error if current else None,
    )


def _describe_delivery(delivery: Delivery) -> DeliveryResponse:
    document = DeliveryResponse.model_validate(delivery, from_attributes=True)
    if delivery.status != "waiting":
        document.next_attempt_at = None
    return document
