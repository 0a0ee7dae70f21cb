"""`/healthz`: the process is alive. `/readyz`: it may take traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from serving.http.dependencies import inject
from serving.http.errors import problem

router = APIRouter(tags=["health"])


@dataclass
class Readiness:
    """Whether this process may take new traffic.

    missing    reads what it cannot answer without, with the reason, by name
    versions   reads the version served, by model
    draining   set when the process was told to stop: it still answers, but wants no new traffic
    """

    missing: Callable[[], Mapping[str, str]]
    versions: Callable[[], Mapping[str, str]]
    draining: bool = False


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
async def readyz(
    readiness: Annotated[Readiness, Depends(inject(Readiness))],
) -> ReadyResponse | Response:
    """200 with the versions served; 503 while something is missing or the server drains."""
    if readiness.draining:
        return problem(503, "Unavailable", "the server is stopping", headers={"Retry-After": "5"})
    missing = dict(readiness.missing())
    if missing:
        detail = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return problem(503, "Unavailable", detail, headers={"Retry-After": "5"}, missing=missing)
    return ReadyResponse(status="ready", models=dict(readiness.versions()))
