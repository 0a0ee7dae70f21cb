"""`/v1/experiments` and `/v1/assignments`: what is tried out, on whom, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from experiments.definition import Experiment, Status
from features.contracts.money import mean_to_major
from serving.experiments.service import assignments, results
from serving.http.auth import Caller, require
from serving.http.idempotency import Attempt, attempt, run_once
from serving.http.parameters import only
from serving.recommendations.api import Id, Name
from serving.server import server

router = APIRouter(prefix="/v1", tags=["experiments"])
Manager = Annotated[Caller, Depends(require("experiments.manage"))]
Key = Annotated[Name, Path(description="The experiment's key")]


class VariantResponse(BaseModel):
    """One arm and its share of the units that take part."""

    name: str
    weight: float
    policy: str


class ExperimentResponse(BaseModel):
    """An experiment as it is now."""

    key: str
    status: str
    hypothesis: str
    placements: list[str]
    unit: str
    variants: list[VariantResponse]
    control: str
    coverage: float
    primary_metric: str


class ExperimentsResponse(BaseModel):
    """All experiments by key."""

    items: list[ExperimentResponse]
    next_cursor: None = None


class AssignmentResponse(BaseModel):
    """What a unit gets in a running experiment; variant is null where the rollout has not reached
    it."""

    experiment: str
    variant: str | None


class AssignmentsResponse(BaseModel):
    """What a unit gets in every running experiment."""

    unit_id: str
    items: list[AssignmentResponse]
    next_cursor: None = None


class DifferenceResponse(BaseModel):
    """Variant minus control, with the 95 % confidence interval and the two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


class MoneyDifferenceResponse(BaseModel):
    """The same in major units of the report's currency."""

    value: str
    low: str
    high: str
    p_value: float


class ShareResponse(BaseModel):
    """A share of units; difference is null for the control."""

    mean: float | None
    difference: DifferenceResponse | None


class MoneyResponse(BaseModel):
    """Major units of the report's currency for each unit; difference is null for the control."""

    mean: str | None
    difference: MoneyDifferenceResponse | None


class MetricsResponse(BaseModel):
    """What the units did after they met the variant."""

    purchase_conversion: ShareResponse
    revenue_per_unit: MoneyResponse


class VariantResultResponse(BaseModel):
    """How many units met the variant, and its metrics."""

    name: str
    n: int
    metrics: MetricsResponse


class ResultsResponse(BaseModel):
    """The state of an experiment now."""

    experiment: str
    status: str
    as_of: str
    primary_metric: str
    control: str
    currency: str
    variants: list[VariantResultResponse]
    other_currency: list[str] = Field(
        description="Zones whose purchases are no revenue here: another currency"
    )
    n_mixed: int
    n_unknown: int
    sample_ratio_p_value: float | None = Field(
        description="Below 0.001 the split is broken and no verdict is given"
    )
    verdict: str


@router.get("/experiments")
def get_experiments(request: Request, _caller: Manager) -> ExperimentsResponse:
    """Every experiment."""
    found = server(request).experiments.current
    return ExperimentsResponse(items=[_response(found[key]) for key in sorted(found)])


@router.get("/experiments/{key}/results")
def get_results(request: Request, _caller: Manager, key: Key) -> ResultsResponse:
    """What came of it so far, per variant and against the control."""
    here = server(request)
    document: dict[str, Any] = results(
        here.engine, here.settings, here.experiments.get(key), here.clock.now()
    )
    for variant in document["variants"]:
        revenue = variant["metrics"]["revenue_per_unit"]
        for place, name in (
            (revenue, "mean"),
            *((revenue["difference"], each) for each in ("value", "low", "high")),
        ):
            if place is not None and place[name] is not None:
                place[name] = mean_to_major(place[name], document["currency"])
    return ResultsResponse(**document)


@router.post("/experiments/{key}/{action}", response_model=ExperimentResponse)
def switch(
    request: Request,
    caller: Manager,
    key: Key,
    action: Literal["start", "stop"],
    tried: Annotated[Attempt, Depends(attempt)],
) -> Response:
    """Starts or stops an experiment, in every server process within seconds."""
    here = server(request)
    status: Status = "running" if action == "start" else "stopped"

    def work(connection: sa.Connection) -> ExperimentResponse:
        now = here.system_clock.now()
        return _response(
            here.experiments.switch(connection, key, status, actor=caller.key_id, at=now)
        )

    response = run_once(request, caller, tried, work)
    here.experiments.refresh()
    return response


@router.get("/assignments", dependencies=[Depends(only("unit_id"))])
def get_assignments(
    request: Request,
    _caller: Manager,
    unit_id: Annotated[
        Id, Query(description="A user, else a visitor, else a session: what the experiment assigns")
    ],
) -> AssignmentsResponse:
    """Which variant a unit gets, without exposing it."""
    found = assignments(server(request).experiments.current, unit_id)
    items = [
        AssignmentResponse(experiment=experiment.key, variant=variant.name if variant else None)
        for experiment, variant in found
    ]
    return AssignmentsResponse(unit_id=unit_id, items=items)


def _response(experiment: Experiment) -> ExperimentResponse:
    values = asdict(experiment)
    return ExperimentResponse(**{name: values[name] for name in ExperimentResponse.model_fields})
