"""`/healthz`: the process is alive. `/readyz`: it may take traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    unused     reads what the shop has nothing for yet, with what to do, by name
    serves     reads what is answered now, of recommendations, forecasts and prices
    versions   reads the version served, by model
    degraded   reads what it answers worse without, with the reason, by name
    draining   set when the process was told to stop: it still answers, but wants no new traffic
    """

    missing: Callable[[], Mapping[str, str]]
    unused: Callable[[], Mapping[str, str]]
    serves: Callable[[], Sequence[str]]
    versions: Callable[[], Mapping[str, str]]
    degraded: Callable[[], Mapping[str, str]]
    draining: bool = False


class HealthResponse(BaseModel):
    """Alive."""

    status: str


class ReadyResponse(HealthResponse):
    """Ready, with what it answers and the versions served by model.

    `missing` is what the shop has nothing for yet, with what to do; `degraded` where answers are
    worse than they could be: the reason by part."""

    serves: list[str]
    models: dict[str, str]
    missing: dict[str, str] | None = None
    degraded: dict[str, str] | None = None


@router.get("/healthz")
async def healthz() -> HealthResponse:
    """200 as long as the process answers at all."""
    return HealthResponse(status="alive")


@router.get("/readyz", response_model=ReadyResponse, response_model_exclude_none=True)
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
    return ReadyResponse(
        status="ready",
        serves=list(readiness.serves()),
        models=dict(readiness.versions()),
        missing=dict(readiness.unused()) or None,
        degraded=dict(readiness.degraded()) or None,
    )
