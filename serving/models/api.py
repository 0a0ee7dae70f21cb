"""`/v1/models`: the registered versions and which of them is champion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.registry import NAMES, Version
from serving.field_types import Name
from serving.http.auth import Caller, require, require_everywhere
from serving.http.dependencies import inject
from serving.http.idempotency import Attempt, Write
from serving.models.served_models import ServedModels
from serving.models.service import ModelService, Promotion

router = APIRouter(prefix="/v1/models", tags=["models"])
Models = Annotated[ModelService, Depends(inject(ModelService))]
Served = Annotated[ServedModels, Depends(inject(ServedModels))]
Reader = Annotated[Caller, Depends(require("models.manage"))]
Manager = Annotated[Caller, Depends(require_everywhere("models.manage"))]
ModelName = Annotated[Name, Path(description=", ".join(NAMES))]


class VersionResponse(BaseModel):
    """A registered version; `version` counts up per name. `served` says whether this process
    answers with it."""

    name: str
    version: str
    aliases: list[str]
    run_id: str
    created_at: datetime
    metrics: dict[str, object]
    tags: dict[str, str]
    served: bool


class ModelsResponse(BaseModel):
    """Versions by model, newest first."""

    items: list[VersionResponse]
    next_cursor: None = None


class PromoteRequest(BaseModel):
    """Which version becomes champion."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")] = Field(examples=["3"])


@router.get("")
def get_models(models: Models, served: Served, _caller: Reader) -> ModelsResponse:
    """Every registered version."""
    items = [_describe_version(served, version) for version in models.list_versions()]
    return ModelsResponse(items=items)


@router.post("/{name}/promote", response_model=VersionResponse)
def post_promote(
    models: Models,
    served: Served,
    caller: Manager,
    name: ModelName,
    body: PromoteRequest,
    write: Write,
) -> Response:
    """Makes a version the champion; every server process picks it up within seconds."""
    return _change_champion(
        models, served, caller, write, lambda: models.promote(name, body.version)
    )


@router.post("/{name}/rollback", response_model=VersionResponse)
def post_rollback(
    models: Models, served: Served, caller: Manager, name: ModelName, write: Write
) -> Response:
    """Makes the champion before this one the champion again."""
    return _change_champion(models, served, caller, write, lambda: models.rollback(name))


def _change_champion(
    models: ModelService,
    served: ServedModels,
    caller: Caller,
    write: Attempt,
    change: Callable[[], Promotion],
) -> Response:
    def record(connection: sa.Connection, promotion: Promotion) -> VersionResponse:
        models.record(connection, promotion, actor=caller.id)
        return _describe_version(served, promotion.champion)

    response = write.run_outside(caller, change, record)
    served.refresh()
    # `version` of the body counts models, not edits of a resource.
    del response.headers["ETag"]
    return response


def _describe_version(served: ServedModels, version: Version) -> VersionResponse:
    metrics = {
        name: value if value == value else None  # NaN is no JSON
        for name, value in version.metrics.items()
    }
    return VersionResponse(
        name=version.name,
        version=version.version,
        aliases=list(version.aliases),
        run_id=version.run_id,
        created_at=datetime.fromtimestamp(version.created_at_seconds, UTC),
        metrics=metrics,
        tags=dict(version.tags),
        served=served.serves(version),
    )
