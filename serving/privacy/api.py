"""`/v1/users/{user_id}`: what a person may ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from serving.field_types import Id
from serving.http.auth import Caller, require_everywhere
from serving.http.dependencies import inject
from serving.http.idempotency import Attempt, read_attempt
from serving.http.parameters import allow_only, check_text
from serving.privacy.documents import ConsentResponse, ErasureResponse, UserExportResponse
from serving.privacy.service import PrivacyService

router = APIRouter(
    prefix="/v1/users",
    tags=["privacy"],
    dependencies=[Depends(check_text), Depends(allow_only())],
)
Privacy = Annotated[PrivacyService, Depends(inject(PrivacyService))]
Officer = Annotated[Caller, Depends(require_everywhere("privacy.manage"))]
# For a materialization, which takes longer in a large shop: the caller repeats the request then.
_WAIT_SECONDS = 20.0


def read_keyed_attempt(
    privacy: Privacy, attempt: Annotated[Attempt, Depends(read_attempt)]
) -> Attempt:
    """A FastAPI dependency: the fingerprint is keyed, since the path of the request is an id, and
    of an unkeyed one anybody could find out by trying."""
    return replace(attempt, fingerprint=privacy.digests.make("request", attempt.fingerprint))


Write = Annotated[Attempt, Depends(read_keyed_attempt)]


class ConsentRequest(BaseModel):
    """Whether the person allows recommendations to be personal."""

    model_config = ConfigDict(extra="forbid")

    personalization_allowed: bool


@router.get("/{user_id}")
def get_user(privacy: Privacy, caller: Officer, user_id: Id) -> UserExportResponse:
    """All that is kept about a person. 404 where that is nothing."""
    return privacy.export(caller.id, user_id)


@router.put("/{user_id}", response_model=ConsentResponse)
def put_user(
    privacy: Privacy, caller: Officer, write: Write, user_id: Id, body: ConsentRequest
) -> Response:
    """States whether a person allows personalization; the next answer of every worker follows."""
    return write.run_once(
        caller,
        lambda connection: privacy.state_consent(
            connection, caller.id, user_id, allowed=body.personalization_allowed
        ),
    )


@router.delete("/{user_id}", response_model=ErasureResponse)
def delete_user(privacy: Privacy, caller: Officer, write: Write, user_id: Id) -> Response:
    """Erases a person. After a failure send it again: it does what is left."""
    response = write.run_outside(
        caller,
        lambda: privacy.erase(caller.id, user_id, _WAIT_SECONDS),
        lambda _, report: report,
    )
    privacy.empty_logs()
    return response
