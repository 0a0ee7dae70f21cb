"""`/v1/experiments` and `/v1/assignments`: experiments, their results, the variant of a unit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

from experiments.definition import Experiment, Status
from serving.experiments.documents import ResultsResponse, describe_report
from serving.experiments.service import ExperimentService
from serving.field_types import Id, Name
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only

router = APIRouter(prefix="/v1", tags=["experiments"])
Experiments = Annotated[ExperimentService, Depends(inject(ExperimentService))]
Manager = Annotated[Caller, Depends(require("experiments.manage"))]
Key = Annotated[Name, Path(description="The experiment's key")]


class VariantDefinitionResponse(BaseModel):
    """One arm and its share of the units that take part."""

    name: str
    weight: float
    policy: str


class HypothesisResponse(BaseModel):
    """A variant loses less than `margin` of the control's mean of `metric`."""

    metric: str
    margin: float


class ExperimentResponse(BaseModel):
    """An experiment as it is now."""

    key: str
    status: str
    hypothesis: str
    placements: list[str]
    unit: str
    variants: list[VariantDefinitionResponse]
    control: str
    coverage: float
    primary_metric: str
    attribution_days: float
    stopped_at: datetime | None
    non_inferiority: HypothesisResponse | None


class ExperimentsResponse(BaseModel):
    """All experiments by key."""

    items: list[ExperimentResponse]
    next_cursor: None = None


class AssignmentResponse(BaseModel):
    """The variant of a unit in an experiment; null where the rollout has not reached it."""

    experiment: str
    variant: str | None


class AssignmentsResponse(BaseModel):
    """The variants of a unit in every running experiment."""

    unit_id: str
    items: list[AssignmentResponse]
    next_cursor: None = None


@router.get("/experiments")
def get_experiments(experiments: Experiments, _caller: Manager) -> ExperimentsResponse:
    """Every experiment."""
    current = experiments.current
    return ExperimentsResponse(
        items=[_describe_experiment(current[key]) for key in sorted(current)]
    )


@router.get("/experiments/{key}/results")
def get_results(experiments: Experiments, _caller: Manager, key: Key) -> ResultsResponse:
    """The results by variant and against the control: so far, or until the stop and what it still
    causes."""
    return describe_report(experiments.report(key), experiments.currency)


@router.post("/experiments/{key}/{action}", response_model=ExperimentResponse)
def switch(
    experiments: Experiments,
    caller: Manager,
    key: Key,
    action: Literal["start", "stop"],
    write: Write,
    accept_worse: Annotated[
        bool, Query(description="Start it although training measured an arm as clearly worse")
    ] = False,
) -> Response:
    """Starts or stops an experiment, in every server process within seconds.

    409 for a start with an arm that lost clearly in the champion's training."""
    status: Status = "running" if action == "start" else "stopped"
    if action == "start" and not accept_worse:
        experiments.refuse_worse_arms(key)

    def work(connection: sa.Connection) -> ExperimentResponse:
        switched = experiments.switch(connection, key, status, actor=caller.id)
        return _describe_experiment(switched)

    response = write.run_once(caller, work)
    experiments.refresh()
    return response


@router.get("/assignments", dependencies=[Depends(allow_only("unit_id"))])
def get_assignments(
    experiments: Experiments,
    _caller: Manager,
    unit_id: Annotated[
        Id, Query(description="A user, else a visitor, else a session: what the experiment assigns")
    ],
) -> AssignmentsResponse:
    """The variants of a unit, without exposing it."""
    items = [
        AssignmentResponse(
            experiment=assignment.experiment.key,
            variant=None if assignment.variant is None else assignment.variant.name,
        )
        for assignment in experiments.assign_unit(unit_id)
    ]
    return AssignmentsResponse(unit_id=unit_id, items=items)


def _describe_experiment(experiment: Experiment) -> ExperimentResponse:
    return ExperimentResponse.model_validate(experiment, from_attributes=True)
