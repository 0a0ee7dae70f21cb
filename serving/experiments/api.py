"""`/v1/experiments` and `/v1/assignments`: experiments, their results, the variant of a unit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from experiments.definition import Experiment, Status
from serving.experiments.documents import ResultsResponse, describe_report
from serving.experiments.final_decisions import DecisionService
from serving.experiments.repository import ExperimentState
from serving.experiments.requests import (
    ChangeRequest,
    DecisionRequest,
    NewExperimentRequest,
    OverrideRequest,
)
from serving.experiments.service import ExperimentService
from serving.field_types import Id, Name
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only
from serving.versioned_rules import FILE, NewVersion

router = APIRouter(prefix="/v1", tags=["experiments"])
Experiments = Annotated[ExperimentService, Depends(inject(ExperimentService))]
Decisions = Annotated[DecisionService, Depends(inject(DecisionService))]
SCOPE = "experiments.manage"
Manager = Annotated[Caller, Depends(require("experiments.manage"))]
Key = Annotated[Name, Path(description="The experiment's key")]


class VariantDefinitionResponse(BaseModel):
    """One arm, its share of the units that take part, and what it changes."""

    name: str
    weight: float
    policy: str
    model: str
    placement: dict[str, Any]


class HypothesisResponse(BaseModel):
    """A variant loses less than `margin` of the control's mean of `metric`."""

    metric: str
    margin: float


class LayerResponse(BaseModel):
    """The part of a layer's units."""

    name: str
    start: float
    end: float


class TargetingResponse(BaseModel):
    """Who takes part."""

    zones: list[str]
    visitors: str
    attributes: dict[str, list[str]]


class RampStepResponse(BaseModel):
    """From `at` on this share of all units takes part."""

    at: datetime
    coverage: float


class GuardrailResponse(BaseModel):
    """A metric that may not lose more than `margin`."""

    metric: str
    margin: float


class DecisionResponse(BaseModel):
    """What was decided, by whom, and what was shipped."""

    variant: str
    verdict: str
    metric: str
    effect: float | None
    low: float | None
    high: float | None
    shipped: str | None
    comment: str
    decided_by: str
    decided_at: datetime


class ExperimentResponse(BaseModel):
    """An experiment as it is now."""

    key: str
    status: str
    version: int = Field(description="Of the definition; 0: as its file says")
    hypothesis: str
    placements: list[str]
    unit: str
    variants: list[VariantDefinitionResponse]
    control: str
    salt: str
    coverage: float
    ramp: list[RampStepResponse]
    layer: LayerResponse | None
    targeting: TargetingResponse
    holdout: bool
    allocation: str
    floor: float
    primary_metric: str
    secondary_metrics: list[str]
    guardrails: list[GuardrailResponse]
    segments: list[str]
    minimum_effect: float | None
    planned_units: int | None
    analysis: str
    looks: int
    attribution_days: float
    started_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None
    non_inferiority: HypothesisResponse | None
    decision: DecisionResponse | None


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


class PlanResponse(BaseModel):
    """Units and days for the minimum effect at a power of 80 %, and what shorter runs can see."""

    metric: str
    baseline: float
    explained_share: float
    minimum_effect: float
    units: int
    units_per_day: float
    days: int | None
    detectable: dict[int, float | None] = Field(
        description="By days, the relative change that is found; null: none up to 1,000 %"
    )


class OverrideResponse(BaseModel):
    """Send it as `override` with requests of slates; these answers count nowhere."""

    override: str


@router.get("/experiments")
def get_experiments(experiments: Experiments, _caller: Manager) -> ExperimentsResponse:
    """Every experiment."""
    current = experiments.current
    return ExperimentsResponse(
        items=[describe_experiment(experiments, current[key]) for key in sorted(current)]
    )


@router.post("/experiments", response_model=ExperimentResponse)
def post_experiment(
    experiments: Experiments, caller: Manager, body: NewExperimentRequest, write: Write
) -> Response:
    """Defines an experiment, a draft until it is started."""
    new = NewVersion(body.key, body.merge({}), body.comment, FILE)
    return _save(experiments, caller, new, write)


@router.get("/experiments/{key}")
def get_experiment(experiments: Experiments, _caller: Manager, key: Key) -> ExperimentResponse:
    """One experiment."""
    return describe_experiment(experiments, experiments.get(key))


@router.patch("/experiments/{key}", response_model=ExperimentResponse)
def patch_experiment(
    experiments: Experiments, caller: Manager, key: Key, body: ChangeRequest, write: Write
) -> Response:
    """Changes a definition.

    409 where somebody changed it meanwhile, or for what may not change any more."""
    values, _ = experiments.read_values(key)
    new = NewVersion(key, body.merge(values), body.comment, body.based_on)
    return _save(experiments, caller, new, write)


@router.get("/experiments/{key}/results")
def get_results(experiments: Experiments, _caller: Manager, key: Key) -> ResultsResponse:
    """The results by variant and against the control: so far, or until the stop and what it still
    causes."""
    return describe_report(experiments.report(key), experiments.currency)


@router.get("/experiments/{key}/plan")
def get_plan(experiments: Experiments, _caller: Manager, key: Key) -> PlanResponse:
    """How many units and days the experiment needs at the traffic of the last four weeks."""
    plan = experiments.plan(experiments.get(key))
    return PlanResponse.model_validate(plan, from_attributes=True)


@router.post("/experiments/{key}/decide", response_model=ExperimentResponse)
def decide(
    experiments: Experiments,
    decisions: Decisions,
    caller: Manager,
    key: Key,
    body: DecisionRequest,
    write: Write,
) -> Response:
    """Records what was decided; with `ship` the variant's model or placement serves from now on.

    409 for an experiment that was not stopped. Shipping takes the scope models.manage for a model,
    slates.manage for a placement."""
    caller.require_everywhere(SCOPE)
    plan = decisions.prepare(key, body.variant, caller, ship=body.ship)

    is_new = False

    def record(connection: sa.Connection) -> ExperimentResponse:
        nonlocal is_new
        is_new = True
        decided, state = decisions.record(connection, plan, body.comment, caller)
        return describe_experiment(experiments, decided, state=state)

    response = write.run_once(caller, record)
    if is_new:  # a repetition ships nothing again
        decisions.ship_model(plan, caller)
    experiments.refresh()
    return response


@router.post("/experiments/{key}/override", response_model=OverrideResponse)
def post_override(
    experiments: Experiments, caller: Manager, key: Key, body: OverrideRequest
) -> OverrideResponse:
    """A token with which somebody who tests the shop sees a variant."""
    caller.require_everywhere(SCOPE)
    token = experiments.make_override(key, body.variant, body.days, actor=caller.id)
    experiments.refresh()
    return OverrideResponse(override=token)


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
    caller.require_everywhere(SCOPE)
    status: Status = "running" if action == "start" else "stopped"
    if action == "start" and not accept_worse:
        experiments.refuse_worse_arms(key)
    versions = experiments.find_versions(key) if action == "start" else {}

    def work(connection: sa.Connection) -> ExperimentResponse:
        switched = experiments.switch(connection, key, status, actor=caller.id, versions=versions)
        state = experiments.read_state(connection, key)
        return describe_experiment(experiments, switched, state=state)

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


def _save(
    experiments: ExperimentService, caller: Caller, new: NewVersion, write: Write
) -> Response:
    caller.require_everywhere(SCOPE)

    def work(connection: sa.Connection) -> ExperimentResponse:
        experiment, version = experiments.save(connection, new, actor=caller.id)
        return describe_experiment(experiments, experiment, version.number)

    response = write.run_once(caller, work)
    experiments.refresh()
    return response


def describe_experiment(
    experiments: ExperimentService,
    experiment: Experiment,
    version: int | None = None,
    state: ExperimentState | None = None,
) -> ExperimentResponse:
    """Return the JSON of an experiment with its state."""
    state = state or experiments.states.get(experiment.key)
    values: dict[str, Any] = {
        name: getattr(experiment, name) for name in Experiment.__dataclass_fields__
    }
    values["version"] = (
        experiments.numbers.get(experiment.key, FILE) if version is None else version
    )
    for name in ("started_at", "stop_reason", "decision"):
        values[name] = None if state is None else getattr(state, name)
    return ExperimentResponse.model_validate(values, from_attributes=True)
