"""`Idempotency-Key`: a write that is sent again is answered as the first time and done once.

The first status and body are kept in the transaction of the work itself, so that a crash leaves
both or neither. The same key with another request is refused (422). Refusals (403, 404, 409, 412,
422) are kept too; 429 and 5xx are not.

Reference: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Header, Request, Response
from pydantic import BaseModel

from features.contracts.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    ShopwrightError,
)
from features.database import transaction
from serving.http.idempotency_rows import IdempotentAnswers, StoredAnswer
from serving.keys.service import Caller

REPLAYED = "Idempotent-Replayed"
_MAX_LENGTH = 255
_KEPT_ERRORS: dict[int, type[ShopwrightError]] = {
    error.status: error for error in (BadInput, Conflict, Forbidden, NotFound, PreconditionFailed)
}


@dataclass(frozen=True)
class Attempt:
    """A write that may be a repetition: its Idempotency-Key, None without one, and what it asks."""

    key: str | None
    fingerprint: str


async def attempt(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(description="Any text of your own; repeat it to retry")
    ] = None,
) -> Attempt:
    """A FastAPI dependency that reads the key and takes the request's fingerprint."""
    if idempotency_key is not None and not 0 < len(idempotency_key) <= _MAX_LENGTH:
        raise BadInput(
            f"an Idempotency-Key has 1 to {_MAX_LENGTH} characters", where="Idempotency-Key"
        )
    digest = hashlib.sha256()
    for part in (
        request.method,
        request.url.path,
        request.url.query,
        request.headers.get("if-match", ""),
    ):
        digest.update(part.encode() + b"\n")
    digest.update(await request.body())
    return Attempt(idempotency_key, digest.hexdigest())


def run_once(
    request: Request, caller: Caller, tried: Attempt, work: Callable[[sa.Connection], BaseModel]
) -> Response:
    """Does `work` in one transaction and answers 200 with what it returns; a repetition gets the
    first answer."""
    engine, now = request.app.state.engine, request.app.state.system_clock.now()
    try:
        with transaction(engine) as connection:
            answers = IdempotentAnswers(connection)
            if tried.key is not None and (known := answers.find(caller.key_id, tried.key, now)):
                return _replay(known, tried)
            body = work(connection).model_dump_json()
            if tried.key is not None:
                answers.keep(
                    caller.key_id, tried.key, StoredAnswer(tried.fingerprint, 200, body), now
                )
    except _Replayed as replayed:
        raise replayed.error from None
    except ShopwrightError as error:
        if tried.key is not None and error.status in _KEPT_ERRORS:
            _keep_error(engine, caller, tried, error, now)
        raise
    return _response(body)


class _Replayed(Exception):
    """Carries a kept error past the handler that would keep it again."""

    def __init__(self, error: ShopwrightError) -> None:
        super().__init__()
        self.error = error


def _replay(known: StoredAnswer, tried: Attempt) -> Response:
    if known.fingerprint != tried.fingerprint:
        raise _Replayed(
            BadInput(
                "this Idempotency-Key came with another request before",
                where="Idempotency-Key",
                hint="Use a new key for a new request",
            )
        )
    if known.status != 200:
        raise _Replayed(_KEPT_ERRORS[known.status](**json.loads(known.body)))
    response = _response(known.body)
    response.headers[REPLAYED] = "true"
    return response


def _keep_error(
    engine: sa.Engine, caller: Caller, tried: Attempt, error: ShopwrightError, now: Any
) -> None:
    body = json.dumps({"what": error.what, "where": error.where, "hint": error.hint})
    with transaction(engine) as connection:
        answers = IdempotentAnswers(connection)
        if answers.find(caller.key_id, tried.key or "", now) is None:
            answers.keep(
                caller.key_id,
                tried.key or "",
                StoredAnswer(tried.fingerprint, error.status, body),
                now,
            )


def _response(body: str) -> Response:
    version = json.loads(body).get("version")
    headers = {} if version is None else {"ETag": f'"{version}"'}
    return Response(body, media_type="application/json", headers=headers)
