"""`/v1/experiments` and `/v1/assignments`: experiments, their results, the variant of a unit."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from experiments.definition import Experiment, Status
from features.contracts.money import mean_to_major
from serving.experiments.service import ExperimentService
from serving.field_types import Id, Name
from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only

if TYPE_CHECKING:
    from experiments.analysis.report import ExperimentReport, MetricResult, VariantResult

router = APIRouter(prefix="/v1", tags=["experiments"])
Experiments = Annotated[ExperimentService, Depends(inject(ExperimentService))]
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
    """The variant of a unit in an experiment; null where the rollout has not reached it."""

    experiment: str
    variant: str | None


class AssignmentsResponse(BaseModel):
    """The variants of a unit in every running experiment."""

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
    """The metrics of the units from their first exposure on."""

    purchase_conversion: ShareResponse
    revenue_per_unit: MoneyResponse


class VariantResultResponse(BaseModel):
    """How many units were exposed to the variant, and its metrics."""

    name: str
    n: int
    metrics: MetricsResponse


class ResultsResponse(BaseModel):
    """The results of an experiment until now."""

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
        description="Below 0.001 the split is taken for broken and there is no verdict"
    )
    verdict: str


@router.get("/experiments")
def get_experiments(experiments: Experiments, _caller: Manager) -> ExperimentsResponse:
    """Every experiment."""
    current = experiments.current
    return ExperimentsResponse(
        items=[_describe_experiment(current[key]) for key in sorted(current)]
    )


@router.get("/experiments/{key}/results")
def get_results(experiments: Experiments, _caller: Manager, key: Key) -> ResultsResponse:
    """The results so far, per variant and against the control."""
    return _describe_report(experiments.report(key), experiments.currency)


@router.post("/experiments/{key}/{action}", response_model=ExperimentResponse)
def switch(
    experiments: Experiments,
    caller: Manager,
    key: Key,
    action: Literal["start", "stop"],
    write: Write,
) -> Response:
    """Starts or stops an experiment, in every server process within seconds."""
    status: Status = "running" if action == "start" else "stopped"

    def work(connection: sa.Connection) -> ExperimentResponse:
        switched = experiments.switch(connection, key, status, actor=caller.key_id)
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


def _describe_report(report: ExperimentReport, currency: str) -> ResultsResponse:
    return ResultsResponse(
        experiment=report.experiment,
        status=report.status,
        as_of=report.as_of.astimezone(UTC).isoformat(),
        primary_metric=report.primary_metric,
        control=report.control,
        currency=currency,
        variants=[_describe_variant(variant, currency) for variant in report.variants],
        other_currency=list(report.other_currency),
        n_mixed=report.n_mixed,
        n_unknown=report.n_unknown,
        sample_ratio_p_value=report.sample_ratio_p_value,
        verdict=report.verdict,
    )


def _describe_variant(variant: VariantResult, currency: str) -> VariantResultResponse:
    conversion = variant.metrics["purchase_conversion"]
    metrics = MetricsResponse(
        purchase_conversion=ShareResponse.model_validate(conversion, from_attributes=True),
        revenue_per_unit=_describe_money(variant.metrics["revenue_per_unit"], currency),
    )
    return VariantResultResponse(name=variant.name, n=variant.n, metrics=metrics)


def _describe_money(metric: MetricResult, currency: str) -> MoneyResponse:
    mean = None if metric.mean is None else mean_to_major(metric.mean, currency)
    if metric.difference is None:
        return MoneyResponse(mean=mean, difference=None)
    difference = MoneyDifferenceResponse(
        value=mean_to_major(metric.difference.value, currency),
        low=mean_to_major(metric.difference.low, currency),
        high=mean_to_major(metric.difference.high, currency),
        p_value=metric.difference.p_value,
    )
    return MoneyResponse(mean=mean, difference=difference)
