"""`/v1/models`: the registered versions and which of them is champion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.registry import NAMES, Version
from serving.http.auth import Caller, require
from serving.http.idempotency import Attempt, attempt, run_once
from serving.models.service import promote, rollback
from serving.recommendations.api import Name
from serving.server import Server, server

router = APIRouter(prefix="/v1/models", tags=["models"])
Manager = Annotated[Caller, Depends(require("models.manage"))]
Tried = Annotated[Attempt, Depends(attempt)]
ModelName = Annotated[Name, Path(description=", ".join(NAMES))]


class VersionResponse(BaseModel):
    """A registered version; `version` counts up per name. `served` says whether this process
    answers with it."""

    name: str
    version: str
    aliases: list[str]
    run_id: str
    created_at: datetime
    metrics: dict[str, Any]
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
def get_models(request: Request, _caller: Manager) -> ModelsResponse:
    """Every registered version."""
    here = server(request)
    found = [version for name in NAMES for version in here.registry.versions(name)]
    return ModelsResponse(items=[_response(here, version) for version in found])


@router.post("/{name}/promote", response_model=VersionResponse)
def post_promote(
    request: Request, caller: Manager, name: ModelName, body: PromoteRequest, tried: Tried
) -> Response:
    """Makes a version the champion; every server process picks it up within seconds."""
    here = server(request)

    def work(connection: sa.Connection) -> VersionResponse:
        at = here.system_clock.now()
        done = promote(connection, here.registry, name, body.version, actor=caller.key_id, at=at)
        return _response(here, done)

    return _done(request, here, caller, tried, work)


@router.post("/{name}/rollback", response_model=VersionResponse)
def post_rollback(request: Request, caller: Manager, name: ModelName, tried: Tried) -> Response:
    """Makes the champion before this one the champion again."""
    here = server(request)

    def work(connection: sa.Connection) -> VersionResponse:
        done = rollback(
            connection, here.registry, name, actor=caller.key_id, at=here.system_clock.now()
        )
        return _response(here, done)

    return _done(request, here, caller, tried, work)


def _done(request: Request, here: Server, caller: Caller, tried: Attempt, work: Any) -> Response:
    response = run_once(request, caller, tried, work)
    here.champions.refresh()
    # `version` of the body counts models, not edits of a resource.
    del response.headers["ETag"]
    return response


def _response(here: Server, version: Version) -> VersionResponse:
    served = here.champions.versions.get(version.name)
    return VersionResponse(
        name=version.name,
        version=version.version,
        aliases=list(version.aliases),
        run_id=version.run_id,
        created_at=datetime.fromtimestamp(version.created_at_seconds, UTC),
        metrics={
            name: value if value == value else None for name, value in version.metrics.items()
        },  # NaN is no JSON
        tags=dict(version.tags),
        served=served is not None and served.version == version.version,
    )
