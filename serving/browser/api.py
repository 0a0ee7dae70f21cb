"""`/v1/browser/...` and `/client.js`: what pages call themselves, with a publishable key."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.contracts.errors import BadInput, Forbidden
from serving.browser.service import MAX_EVENTS, BrowserIds, BrowserService
from serving.events.api import EventsResponse, RejectedResponse
from serving.field_types import Id
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.metrics import Metrics
from serving.http.parameters import allow_only
from serving.recommendations.api import PageResponse, build_slate
from serving.recommendations.request_types import PageRequest, build_request

router = APIRouter(tags=["browser"])
Browser = Annotated[BrowserService, Depends(inject(BrowserService))]
PublicCaller = Annotated[Caller, Depends(require("browser"))]
Token = Annotated[str, Field(max_length=200)]
_CACHED_SECONDS = 3_600


class VisitorResponse(BaseModel):
    """A new visitor: the browser keeps both and sends both."""

    visitor_id: str
    visitor_token: str = Field(description="Proves the visitor_id; nobody else may learn it")


class BrowserPageRequest(PageRequest):
    """The placements of a page; `user_id` and `visitor_id` need their proofs."""

    visitor_token: Token | None = None
    user_token: Token | None = None
    explain: Literal[False] = False


class BrowserEventsRequest(BaseModel):
    """Events of one visitor: view_item, view_item_list, select_item, add_to_cart,
    remove_from_cart, add_to_wishlist, begin_checkout."""

    model_config = ConfigDict(extra="forbid")

    visitor_id: Id | None = None
    visitor_token: Token | None = None
    user_id: Id | None = None
    user_token: Token | None = None
    events: list[dict[str, object]] = Field(max_length=MAX_EVENTS)


class TokenRequest(BaseModel):
    """Whose proofs the shop's server asks for."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id | None = None
    visitor_id: Id | None = Field(None, description="A visitor_id of the shop's own")
    hours: float = Field(12, gt=0, le=24 * 30, description="How long user_token is valid")


class TokenResponse(BaseModel):
    """Proofs to hand to the page of this person."""

    user_token: str | None
    visitor_token: str | None
    expires_at: datetime | None = Field(description="When user_token ends")


@router.post("/v1/browser/visitors", dependencies=[Depends(allow_only("key"))])
def post_visitor(request: Request, browser: Browser, _caller: PublicCaller) -> VisitorResponse:
    """Makes a visitor_id and its proof, for a browser that has none."""
    browser.limits.check(_read_address(request))
    visitor_id, token = browser.tokens.make_visitor()
    return VisitorResponse(visitor_id=visitor_id, visitor_token=token)


@router.post(
    "/v1/browser/page",
    response_model=PageResponse,
    dependencies=[Depends(allow_only("key"))],
)
async def post_browser_page(
    request: Request, browser: Browser, _caller: PublicCaller, body: BrowserPageRequest
) -> Response:
    """Slates for the placements of a page, of the browser's own visitor or of nobody."""
    browser.limits.check(_read_address(request))
    ids = BrowserIds(body.visitor_id, body.visitor_token, body.user_id, body.user_token)
    requests = [build_request(body.request_of(placement)) for placement in body.placements]
    workers = browser.recommendations.workers
    answers = await asyncio.get_running_loop().run_in_executor(
        workers, browser.answer_page, requests, ids
    )
    slates = [build_slate(answer, explain=False) for answer in answers]
    return Response(orjson.dumps({"slates": slates}), media_type="application/json")


@router.post(
    "/v1/browser/events",
    status_code=202,
    response_model_exclude_none=True,
    dependencies=[Depends(allow_only("key"))],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BrowserEventsRequest.model_json_schema()}},
        }
    },
)
async def post_browser_events(
    request: Request,
    browser: Browser,
    metrics: Annotated[Metrics, Depends(inject(Metrics))],
    _caller: PublicCaller,
) -> EventsResponse:
    """Stores what happened on a page. The body is JSON of any content type: a beacon sends
    text."""
    browser.limits.check(_read_address(request))
    try:
        body = BrowserEventsRequest.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["body", *map(str, first["loc"])])
        raise BadInput(first["msg"], where=where) from error
    ids = BrowserIds(body.visitor_id, body.visitor_token, body.user_id, body.user_token)
    result = await browser.store(body.events, ids)
    metrics.events.labels("accepted").inc(result.accepted)
    metrics.events.labels("duplicate").inc(result.duplicates)
    metrics.events.labels("rejected").inc(len(result.rejected))
    rejected = [
        RejectedResponse(index=event.index, reason=event.reason.encode("utf-8", "replace").decode())
        for event in result.rejected
    ]
    return EventsResponse(accepted=result.accepted, duplicates=result.duplicates, rejected=rejected)


@router.post("/v1/browser-tokens", dependencies=[Depends(allow_only())])
def post_tokens(
    browser: Browser, caller: Annotated[Caller, Depends(require("storefront"))], body: TokenRequest
) -> TokenResponse:
    """Proofs of ids for a page, for the shop's server alone: it knows who has signed in."""
    if caller.is_person:
        raise Forbidden(
            "a person proves nobody's id: with the proof a page acts as that shopper",
            hint="Use a key of the shop's server with the scope storefront",
        )
    if body.user_id is None and body.visitor_id is None:
        raise BadInput("name a user_id, a visitor_id or both", where="body")
    user_token = ends_at = visitor_token = None
    if body.user_id is not None:
        user_token, ends_at = browser.tokens.sign_user(body.user_id, body.hours)
    if body.visitor_id is not None:
        visitor_token = browser.tokens.sign_visitor(body.visitor_id)
    return TokenResponse(user_token=user_token, visitor_token=visitor_token, expires_at=ends_at)


@router.get(
    "/client.js", response_class=Response, responses={200: {"content": {"text/javascript": {}}}}
)
def get_client(request: Request) -> Response:
    """The client of pages: one file without dependencies."""
    script, etag = _read_script()
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={_CACHED_SECONDS}"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(script, media_type="text/javascript", headers=headers)


@cache
def _read_script() -> tuple[bytes, str]:
    script = (Path(__file__).parent / "client.js").read_bytes()
    return script, f'"{hashlib.sha256(script).hexdigest()[:20]}"'


def _read_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
