"""The JSON of the results of an experiment, over HTTP and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from features.contracts.money import mean_to_major

if TYPE_CHECKING:
    from experiments.analysis.report import (
        ExperimentReport,
        MetricResult,
        NonInferiorityResult,
        VariantResult,
    )


class ControlDifferenceResponse(BaseModel):
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
    difference: ControlDifferenceResponse | None


class MeanMoneyResponse(BaseModel):
    """Major units of the report's currency for each unit; difference is null for the control."""

    mean: str | None
    difference: MoneyDifferenceResponse | None


class MetricsResponse(BaseModel):
    """The metrics of the units from their first exposure on."""

    purchase_conversion: ShareResponse
    revenue_per_unit: MeanMoneyResponse


class VariantResultResponse(BaseModel):
    """How many units were exposed to the variant, and its metrics."""

    name: str
    n: int
    metrics: MetricsResponse


class MarginResponse(BaseModel):
    """A variant beside the control by the stated margin; null where no test is possible.

    `change` is variant / control - 1, `low` the lower end of its one-sided 95 % interval.
    """

    variant: str
    change: float | None
    low: float | None
    p_value: float | None
    shown: bool | None


class NonInferiorityResponse(BaseModel):
    """The stated hypothesis: a variant loses less than `margin` of the control's `metric`."""

    metric: str
    margin: float
    variants: list[MarginResponse]


class ResultsResponse(BaseModel):
    """The results of an experiment until now, or until its stop and what it still causes."""

    experiment: str
    status: str
    as_of: str
    stopped_at: str | None = Field(description="Exposures after it do not count")
    counted_until: str = Field(
        description="Purchases before it count: now, or the stop and attribution_days after it"
    )
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
    non_inferiority: NonInferiorityResponse | None
    verdict: str


def describe_report(report: ExperimentReport, currency: str) -> ResultsResponse:
    """Return the JSON of a report; money in major units of `currency`."""
    return ResultsResponse(
        experiment=report.experiment,
        status=report.status,
        as_of=_write_time(report.as_of),
        stopped_at=None if report.stopped_at is None else _write_time(report.stopped_at),
        counted_until=_write_time(report.counted_until),
        primary_metric=report.primary_metric,
        control=report.control,
        currency=currency,
        variants=[_describe_variant(variant, currency) for variant in report.variants],
        other_currency=list(report.other_currency),
        n_mixed=report.n_mixed,
        n_unknown=report.n_unknown,
        sample_ratio_p_value=report.sample_ratio_p_value,
        non_inferiority=_describe_non_inferiority(report),
        verdict=report.verdict,
    )


def _write_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _describe_non_inferiority(report: ExperimentReport) -> NonInferiorityResponse | None:
    hypothesis = report.non_inferiority
    if hypothesis is None:
        return None
    return NonInferiorityResponse(
        metric=hypothesis.metric,
        margin=hypothesis.margin,
        variants=[_describe_margin(result) for result in report.non_inferiority_results],
    )


def _describe_margin(result: NonInferiorityResult) -> MarginResponse:
    test = result.test
    return MarginResponse(
        variant=result.variant,
        change=None if test is None else test.change,
        low=None if test is None else test.low,
        p_value=None if test is None else test.p_value,
        shown=result.shown,
    )


def _describe_variant(variant: VariantResult, currency: str) -> VariantResultResponse:
    conversion = variant.metrics["purchase_conversion"]
    metrics = MetricsResponse(
        purchase_conversion=ShareResponse.model_validate(conversion, from_attributes=True),
        revenue_per_unit=_describe_money(variant.metrics["revenue_per_unit"], currency),
    )
    return VariantResultResponse(name=variant.name, n=variant.n, metrics=metrics)


def _describe_money(metric: MetricResult, currency: str) -> MeanMoneyResponse:
    mean = None if metric.mean is None else mean_to_major(metric.mean, currency)
    if metric.difference is None:
        return MeanMoneyResponse(mean=mean, difference=None)
    difference = MoneyDifferenceResponse(
        value=mean_to_major(metric.difference.value, currency),
        low=mean_to_major(metric.difference.low, currency),
        high=mean_to_major(metric.difference.high, currency),
        p_value=metric.difference.p_value,
    )
    return MeanMoneyResponse(mean=mean, difference=difference)
