"""`/storefront/...`: the pages of the demo storefront, and what they ask its server for."""

from __future__ import annotations

import asyncio
import html
import json
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from serving.browser.api import Token
from serving.browser.service import BrowserIds
from serving.field_types import Id
from serving.http.dependencies import inject
from serving.recommendations.api import build_slate
from serving.storefront.service import OrderLine, StorefrontService

router = APIRouter(prefix="/storefront", include_in_schema=False)
Storefront = Annotated[StorefrontService, Depends(inject(StorefrontService))]
_FILES = Path(__file__).parent / "files"
_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}


class _Visitor(BaseModel):
    model_config = ConfigDict(extra="forbid")

    visitor_id: Id | None = None
    visitor_token: Token | None = None
    user_id: Id | None = None
    user_token: Token | None = None

    def read_ids(self) -> BrowserIds:
        """Return the ids of a browser with its proofs."""
        return BrowserIds(self.visitor_id, self.visitor_token, self.user_id, self.user_token)


class SearchRequest(_Visitor):
    """What a visitor searches for."""

    query: str = Field(max_length=200)


class LineRequest(BaseModel):
    """An item of an order."""

    item_id: Id
    quantity: int = Field(1, ge=1, le=99)


class OrderRequest(_Visitor):
    """The cart of a visitor."""

    lines: list[LineRequest] = Field(min_length=1, max_length=100)


class SignInRequest(BaseModel):
    """As whom somebody signs in."""

    user_id: Id


def add_storefront(app: FastAPI) -> None:
    """Add the pages, the files that they load, and their server."""
    app.mount("/storefront/files", StaticFiles(directory=_FILES), name="storefront")
    app.include_router(router)


@router.get("")
@router.get("/product")
@router.get("/cart")
@router.get("/search")
def get_page(storefront: Storefront) -> HTMLResponse:
    """Every page: its script reads from the address which one."""
    users = html.escape(json.dumps(storefront.users))
    page = _read_page().substitute(key=storefront.key, users=users)
    return HTMLResponse(page, headers=_HEADERS)


@router.get("/items")
def get_items(
    request: Request,
    storefront: Storefront,
    item_id: Annotated[list[str], Query(max_length=100)],
) -> Response:
    """Titles, categories and prices of items."""
    _check_address(request, storefront)
    return _json({"items": storefront.describe(item_id)})


@router.post("/search")
async def post_search(request: Request, storefront: Storefront, body: SearchRequest) -> Response:
    """Items that match a query, ranked for the visitor."""
    _check_address(request, storefront)
    workers = storefront.recommendations.workers
    answer = await asyncio.get_running_loop().run_in_executor(
        workers, storefront.search, body.query, body.read_ids()
    )
    return _json({"slate": None if answer is None else build_slate(answer, explain=False)})


@router.post("/sign-in")
def post_sign_in(request: Request, storefront: Storefront, body: SignInRequest) -> Response:
    """Sign in as one of the demo's customers, without a password."""
    _check_address(request, storefront)
    return _json({"user_id": body.user_id, "user_token": storefront.sign_in(body.user_id)})


@router.post("/orders")
async def post_order(request: Request, storefront: Storefront, body: OrderRequest) -> Response:
    """Take an order: it stores the purchases, as a shop's server does by `POST /v1/events`."""
    _check_address(request, storefront)
    lines = [OrderLine(line.item_id, line.quantity) for line in body.lines]
    return _json({"order_id": await storefront.order(lines, body.read_ids())})


def _check_address(request: Request, storefront: StorefrontService) -> None:
    storefront.browser.limits.check(request.client.host if request.client else "unknown")


def _json(body: dict[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


@cache
def _read_page() -> Template:
    return Template((_FILES / "storefront.html").read_text(encoding="utf-8"))
