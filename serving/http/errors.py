"""Errors as problem+json (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import orjson
import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from features.contracts.errors import ShopwrightError, Unavailable

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


PROBLEMS: dict[int | str, dict[str, object]] = {
    code: {"model": ProblemResponse, "description": "Problem", "content": {MEDIA_TYPE: {}}}
    for code in ("4XX", "5XX")
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every exception that a route raises with a problem."""
    app.add_exception_handler(ShopwrightError, _handle_shopwright_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    # TimeoutError: no connection of the pool came free.
    for error in (sa.exc.OperationalError, sa.exc.TimeoutError):
        app.add_exception_handler(error, _answer_database_error)
    app.add_exception_handler(Exception, _answer_any_error)


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Response:
    """Return a problem+json response; values of `more` that are None are left out."""
    body = {
        "type": f"urn:shopwright:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        **{name: value for name, value in more.items() if value is not None},
    }
    return Response(orjson.dumps(body), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _handle_shopwright_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ShopwrightError)  # noqa: S101 (the handler is registered for it)
    return answer_shopwright_error(error)


def answer_shopwright_error(error: ShopwrightError) -> Response:
    """Return the problem of an error."""
    # What is unavailable stands in the log once, not with every request that meets it.
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
        log.warning("%s", error)
    headers = {}
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(
        error.status,
        error.title,
        _replace_surrogates(error.what) or "",
        headers=headers,
        where=_replace_surrogates(error.where),
        hint=_replace_surrogates(error.hint),
    )


def _answer_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = [
        {
            "where": ".".join(_replace_surrogates(str(part)) or "" for part in fault["loc"]),
            "what": _replace_surrogates(fault["msg"]) or "",
        }
        for fault in error.errors()[:_MAX_FAULTS]
    ]
    first = faults[0] if faults else {"where": "body", "what": "cannot be read"}
    return problem(
        422, "Bad input", f"{first['where']}: {first['what']}", where=first["where"], errors=faults
    )


def _answer_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    hint = "See /docs for every address" if error.status_code == HTTPStatus.NOT_FOUND else None
    title = HTTPStatus(error.status_code).phrase.capitalize()
    return problem(error.status_code, title, str(error.detail), headers=error.headers, hint=hint)


def _answer_database_error(_request: Request, error: Exception) -> Response:
    log.error("the database does not answer: %s", error)
    return problem(
        503,
        "Unavailable",
        "the database does not answer",
        headers={"Retry-After": "5"},
        hint="Try: shopwright doctor",
    )


def _answer_any_error(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        500, "Internal error", "this should not have happened; the server's log says more"
    )


def _replace_surrogates(text: str | None) -> str | None:
    """Return a text that UTF-8 can carry: a caller may have sent half a surrogate pair."""
    return None if text is None else text.encode("utf-8", "replace").decode()
