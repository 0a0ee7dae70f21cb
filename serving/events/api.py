"""`POST /v1/events`: what happened on the storefront. Acknowledged means committed."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from serving.events.service import MAX_EVENTS, ingest
from serving.http.auth import Caller, require
from serving.server import server

router = APIRouter(prefix="/v1", tags=["events"])


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

    events: list[dict[str, Any]] = Field(max_length=MAX_EVENTS)


class RejectedResponse(BaseModel):
    """An event that was not taken: its place in the call, from 0, and why."""

    index: int
    reason: str


class EventsResponse(BaseModel):
    """What became of the events. Duplicates were known already; sending again is always safe."""

    accepted: int
    duplicates: int
    rejected: list[RejectedResponse]


@router.post("/events", status_code=202, response_model=EventsResponse)
async def post_events(
    request: Request, _caller: Annotated[Caller, Depends(require("events"))], body: EventsRequest
) -> Response:
    """Keeps the events and answers after the commit; the next recommendation has seen them."""
    here = server(request)
    done = await run_in_threadpool(
        ingest,
        here.engine,
        here.settings,
        here.clock,
        here.system_clock,
        here.imported,
        body.events,
    )
    here.metrics.events.labels("accepted").inc(done.accepted)
    here.metrics.events.labels("duplicate").inc(done.duplicates)
    here.metrics.events.labels("rejected").inc(len(done.rejected))
    rejected = [
        {"index": each.index, "reason": each.reason.encode("utf-8", "replace").decode()}
        for each in done.rejected
    ]
    document = {"accepted": done.accepted, "duplicates": done.duplicates, "rejected": rejected}
    return Response(orjson.dumps(document), 202, media_type="application/json")
