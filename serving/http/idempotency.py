"""`Idempotency-Key`: a write that is sent again gets the response of the first time and is done
once.

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
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from features.contracts.clock import Clock, ClockWatch
from features.contracts.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    ShopwrightError,
    Unavailable,
)
from features.database import transaction
from serving.access import Caller
from serving.http.dependencies import service_of
from serving.http.idempotency_repository import BEGUN, StoredResponse, StoredResponses

REPLAYED = "Idempotent-Replayed"
_MAX_LENGTH = 255
# Work whose process was killed is begun anew after this time.
_ABANDONED = timedelta(minutes=5)
Outcome = TypeVar("Outcome")
_KEPT_ERRORS: dict[int, type[ShopwrightError]] = {
    error.status: error for error in (BadInput, Conflict, Forbidden, NotFound, PreconditionFailed)
}


class IdempotencyService:
    """Does writes in one transaction each, and repeats the first response to a repetition.

    After a jump of the clock it refuses them: prices would begin at a time that never was.
    """

    def __init__(
        self, engine: sa.Engine, system_clock: Clock, clock_watch: ClockWatch | None = None
    ) -> None:
        self._engine = engine
        self._system_clock = system_clock
        self._clock_watch = clock_watch or ClockWatch()

    def run_once(
        self, attempt: Attempt, caller: Caller, work: Callable[[sa.Connection], BaseModel]
    ) -> Response:
        """Return 200 with the document of `work`; for a repetition, the first response."""
        self._check_clock()
        now = self._system_clock.now()
        try:
            with transaction(self._engine) as connection:
                responses = StoredResponses(connection)
                if attempt.key is not None:
                    first = responses.find(caller.id, attempt.key, now)
                    if first is not None:
                        return _replay(first, attempt)
                body = work(connection).model_dump_json()
                if attempt.key is not None:
                    response = StoredResponse(attempt.fingerprint, HTTPStatus.OK, body)
                    responses.add(caller.id, attempt.key, response, now)
        except _Replayed as replayed:
            raise replayed.error from None
        except ShopwrightError as error:
            if attempt.key is not None and error.status in _KEPT_ERRORS:
                self._store_error(caller.id, attempt.key, attempt.fingerprint, error, now)
            raise
        return _make_response(body)

    def run_outside(
        self,
        attempt: Attempt,
        caller: Caller,
        work: Callable[[], Outcome],
        record: Callable[[sa.Connection, Outcome], BaseModel],
    ) -> Response:
        """Do `work` outside of the database, then `record` it in one transaction.

        Nobody waits for the database meanwhile. A repetition is refused (409) until the first
        response is there, or _ABANDONED has passed since.
        """
        self._check_clock()
        begun_at = self._system_clock.now()
        if attempt.key is not None and (first := self._begin(attempt, caller.id, begun_at)):
            try:
                return _replay(first, attempt)
            except _Replayed as replayed:
                raise replayed.error from None
        try:
            outcome = work()
            with transaction(self._engine) as connection:
                body = record(connection, outcome).model_dump_json()
                if attempt.key is not None:
                    responses = StoredResponses(connection)
                    responses.remove(caller.id, attempt.key)
                    response = StoredResponse(attempt.fingerprint, HTTPStatus.OK, body)
                    responses.add(caller.id, attempt.key, response, self._system_clock.now())
        except Exception as error:
            if attempt.key is not None:
                self._end_begun(attempt, caller.id, error)
            raise
        return _make_response(body)

    def _check_clock(self) -> None:
        if (problem := self._clock_watch.problem) is not None:
            raise Unavailable(problem, where="clock", retry_after_seconds=60)

    def _begin(self, attempt: Attempt, caller_id: str, now: datetime) -> StoredResponse | None:
        """Return the first response under the key, or note that the work begins."""
        assert attempt.key is not None  # noqa: S101
        with transaction(self._engine) as connection:
            responses = StoredResponses(connection)
            first = responses.find(caller_id, attempt.key, now)
            if first is not None and not _is_abandoned(first, now):
                return first
            responses.remove(caller_id, attempt.key)
            begun = StoredResponse(attempt.fingerprint, BEGUN, "")
            responses.add(caller_id, attempt.key, begun, now)
        return None

    def _end_begun(self, attempt: Attempt, caller_id: str, error: Exception) -> None:
        assert attempt.key is not None  # noqa: S101
        with transaction(self._engine) as connection:
            StoredResponses(connection).remove(caller_id, attempt.key)
        if isinstance(error, ShopwrightError) and error.status in _KEPT_ERRORS:
            now = self._system_clock.now()
            self._store_error(caller_id, attempt.key, attempt.fingerprint, error, now)

    def _store_error(
        self, key_id: str, key: str, fingerprint: str, error: ShopwrightError, now: datetime
    ) -> None:
        body = json.dumps({"what": error.what, "where": error.where, "hint": error.hint})
        with transaction(self._engine) as connection:
            responses = StoredResponses(connection)
            if responses.find(key_id, key, now) is None:
                responses.add(key_id, key, StoredResponse(fingerprint, error.status, body), now)


@dataclass(frozen=True)
class Attempt:
    """A write that may be a repetition.

    key           its Idempotency-Key, None without one
    fingerprint   digest of method, path, query, If-Match and body
    """

    key: str | None
    fingerprint: str
    service: IdempotencyService

    def run_once(self, caller: Caller, work: Callable[[sa.Connection], BaseModel]) -> Response:
        """Do `work` in one transaction and return 200 with its document; for a repetition, the
        first response."""
        return self.service.run_once(self, caller, work)

    def run_outside(
        self,
        caller: Caller,
        work: Callable[[], Outcome],
        record: Callable[[sa.Connection, Outcome], BaseModel],
    ) -> Response:
        """The same with `work` done outside of the transaction that records it."""
        return self.service.run_outside(self, caller, work, record)


async def read_attempt(
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
    return Attempt(idempotency_key, digest.hexdigest(), service_of(request, IdempotencyService))


# The write of a request: `write.run_once(caller, work)`.
Write = Annotated[Attempt, Depends(read_attempt)]


class _Replayed(Exception):
    """Carries a kept error past the handler that would keep it again."""

    def __init__(self, error: ShopwrightError) -> None:
        super().__init__()
        self.error = error


def _is_abandoned(first: StoredResponse, now: datetime) -> bool:
    """Return whether work was begun and never ended: its process was killed."""
    begun_at = first.created_at
    return first.status == BEGUN and begun_at is not None and now > begun_at + _ABANDONED


def _replay(first: StoredResponse, attempt: Attempt) -> Response:
    if first.fingerprint != attempt.fingerprint:
        raise _Replayed(
            BadInput(
                "this Idempotency-Key came with another request before",
                where="Idempotency-Key",
                hint="Use a new key for a new request",
            )
        )
    if first.status == BEGUN:
        raise _Replayed(
            Conflict("the first request with this Idempotency-Key is still being answered")
        )
    if first.status != HTTPStatus.OK:
        raise _Replayed(_KEPT_ERRORS[first.status](**json.loads(first.body)))
    response = _make_response(first.body)
    response.headers[REPLAYED] = "true"
    return response


def _make_response(body: str) -> Response:
    version = json.loads(body).get("version")
    headers = {} if version is None else {"ETag": f'"{version}"'}
    return Response(body, media_type="application/json", headers=headers)
