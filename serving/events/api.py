"""`POST /v1/events`: what happened on the storefront. Acknowledged means committed.

`GET /v1/events/flagged`: whose events are left out of all counts.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.events.documents import FlaggedActorsResponse
from serving.events.flagged import MAX_ACTORS, FlaggedEventsService
from serving.events.service import MAX_EVENTS, EventService
from serving.http.auth import Caller, require, require_everywhere
from serving.http.bodies import LargeBodyRoute
from serving.http.dependencies import inject
from serving.http.metrics import Metrics
from serving.http.parameters import allow_only, check_text

router = APIRouter(prefix="/v1", tags=["events"], route_class=LargeBodyRoute)
Events = Annotated[EventService, Depends(inject(EventService))]


class EventsRequest(BaseModel):
    """Events with the columns of the table `events`; money in major units of the zone's
    currency."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event_id": "e1",
                            "event_type": "purchase",
                            "occurred_at": "2018-01-01T05:00:00Z",
                            "user_id": "42",
                            "item_id": "9",
                            "quantity": 2,
                            "unit_price": "1.99",
                        }
                    ]
                }
            ]
        },
    )

    events: list[dict[str, object]] = Field(max_length=MAX_EVENTS)


class RejectedResponse(BaseModel):
    """An event that was not stored: its position in the request, from 0, and why."""

    index: int
    reason: str


class EventsResponse(BaseModel):
    """How many events were stored. Duplicates were known already; sending again is always safe."""

    accepted: int
    duplicates: int
    rejected: list[RejectedResponse]
    from_the_future: int | None = Field(
        None,
        description="Where there are any: events whose time has not come by the server's clock. "
        "They are stored as occurring now, and keep the time that was sent as an attribute",
    )
    without_ids: int | None = Field(
        None,
        description="Where there are any: events of people who were erased. They are stored "
        "without the ids",
    )


@router.post("/events", status_code=202, response_model_exclude_none=True)
async def post_events(
    events: Events,
    metrics: Annotated[Metrics, Depends(inject(Metrics))],
    _caller: Annotated[Caller, Depends(require("events"))],
    body: EventsRequest,
) -> EventsResponse:
    """Stores the events and answers after the commit; the next recommendation has seen them."""
    result = await events.store(body.events)
    metrics.events.labels("accepted").inc(result.accepted)
    metrics.events.labels("duplicate").inc(result.duplicates)
    metrics.events.labels("rejected").inc(len(result.rejected))
    # A reason quotes the event, and half a surrogate pair cannot be sent.
    rejected = [
        RejectedResponse(index=event.index, reason=event.reason.encode("utf-8", "replace").decode())
        for event in result.rejected
    ]
    metrics.events.labels("from_the_future").inc(result.n_from_the_future)
    return EventsResponse(
        accepted=result.accepted,
        duplicates=result.duplicates,
        rejected=rejected,
        from_the_future=result.n_from_the_future or None,
        without_ids=result.n_without_ids or None,
    )


@router.get(
    "/events/flagged",
    dependencies=[Depends(check_text), Depends(allow_only("cursor", "limit"))],
)
def get_flagged_events(
    flagged: Annotated[FlaggedEventsService, Depends(inject(FlaggedEventsService))],
    _caller: Annotated[Caller, Depends(require_everywhere("privacy.manage"))],
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ACTORS)] = 100,
) -> FlaggedActorsResponse:
    """Users, visitors and sessions whose events are kept and count for nothing, and why."""
    return flagged.page(cursor, limit)
