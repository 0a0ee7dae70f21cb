"""`/v1/users/{user_id}`: what a person may ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict

from serving.field_types import Id
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.privacy.documents import ConsentResponse, ErasureResponse, UserExportResponse
from serving.privacy.service import PrivacyService

router = APIRouter(
    prefix="/v1/users",
    tags=["privacy"],
    dependencies=[Depends(check_text), Depends(allow_only())],
)
Privacy = Annotated[PrivacyService, Depends(inject(PrivacyService))]
Officer = Annotated[Caller, Depends(require("privacy.manage"))]


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
        lambda: privacy.begin_erasure(caller.id, user_id),
        lambda connection, begun: privacy.finish_erasure(connection, caller.id, begun),
    )
    privacy.empty_logs()
    return response
