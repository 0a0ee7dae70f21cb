"""`/healthz`: the process is alive. `/readyz`: it may take traffic."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from serving.http.errors import problem
from serving.models.served_models import PRICING
from serving.server import server

router = APIRouter(tags=["health"])


class HealthResponse(BaseModel):
    """Alive."""

    status: str


class ReadyResponse(HealthResponse):
    """Ready, with the versions served by model."""

    models: dict[str, str]


@router.get("/healthz")
async def healthz() -> HealthResponse:
    """200 as long as the process answers at all."""
    return HealthResponse(status="alive")


@router.get("/readyz", response_model=ReadyResponse)
async def readyz(request: Request) -> Response:
    """200 with the versions served; 503 while something is missing or the server drains."""
    here = server(request)
    if here.draining:
        return problem(503, "Unavailable", "the server is stopping", headers={"Retry-After": "5"})
    # Without a price model forecasts are not adjusted and nothing else is missed.
    missing = {name: why for name, why in here.champions.missing.items() if name != PRICING}
    if missing:
        detail = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return problem(503, "Unavailable", detail, headers={"Retry-After": "5"}, missing=missing)
    models = {name: version.version for name, version in here.champions.versions.items()}
    return Response(
        orjson.dumps({"status": "ready", "models": models}), media_type="application/json"
    )
