"""Every error as problem+json (RFC 9457), in one place."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.contracts.errors import ShopwrightError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MAX_FAULTS = 20


class ProblemResponse(BaseModel):
    """An error: what, where, and what to try."""

    type: str = Field(description="Names the kind of error: urn:shopwright:not-found")
    title: str
    status: int
    detail: str
    where: str | None = None
    hint: str | None = None
    errors: list[dict[str, str]] | None = Field(
        None, description="Per fault of the request: where and what"
    )


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemResponse, "description": "Problem", "content": {MEDIA_TYPE: {}}}
    for code in ("4XX", "5XX")
}


def add_error_handlers(app: FastAPI) -> None:
    """Answers whatever is raised."""
    app.add_exception_handler(ShopwrightError, _of_shopwright)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    for silent in (
        sa.exc.OperationalError,
        sa.exc.TimeoutError,
    ):  # the latter: no connection of the pool came free
        app.add_exception_handler(silent, _of_database)
    app.add_exception_handler(Exception, _of_anything)


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem+json answer; values that are None are left out."""
    body = {
        "type": f"urn:shopwright:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        **{name: value for name, value in more.items() if value is not None},
    }
    return Response(orjson.dumps(body), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of_error(error: ShopwrightError) -> Response:
    """The answer to an error raised on purpose."""
    headers = {}
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    where = _printable(error.where)
    return problem(
        error.status,
        error.title,
        _printable(error.what) or "",
        headers=headers,
        where=where,
        hint=_printable(error.hint),
    )


def _of_shopwright(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ShopwrightError)  # noqa: S101 (the handler is registered for it)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s", error)
    return of_error(error)


def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = [
        {
            "where": ".".join(_printable(str(part)) or "" for part in fault["loc"]),
            "what": _printable(fault["msg"]) or "",
        }
        for fault in error.errors()[:_MAX_FAULTS]
    ]
    first = faults[0] if faults else {"where": "body", "what": "cannot be read"}
    return problem(
        422, "Bad input", f"{first['where']}: {first['what']}", where=first["where"], errors=faults
    )


def _of_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    hint = "See /docs for every address" if error.status_code == HTTPStatus.NOT_FOUND else None
    title = HTTPStatus(error.status_code).phrase.capitalize()
    return problem(error.status_code, title, str(error.detail), headers=error.headers, hint=hint)


def _of_database(_request: Request, error: Exception) -> Response:
    log.error("the database does not answer: %s", error)
    return problem(
        503,
        "Unavailable",
        "the database does not answer",
        headers={"Retry-After": "5"},
        hint="Try: shopwright doctor",
    )


def _of_anything(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        500, "Internal error", "this should not have happened; the server's log says more"
    )


def _printable(text: str | None) -> str | None:
    """Text that UTF-8 can carry: what a caller sent may hold half a surrogate pair."""
    return None if text is None else text.encode("utf-8", "replace").decode()
