"""The JSON of the results of an experiment, over HTTP and on the command line."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from features.contracts.money import mean_to_major

if TYPE_CHECKING:
    from experiments.analysis.comparisons import (
        GuardrailResult,
        MetricResult,
        NonInferiorityResult,
    )
    from experiments.analysis.report import ExperimentReport, VariantResult
    from experiments.analysis.statistics import Difference


class ControlDifferenceResponse(BaseModel):
    """Variant minus control, with the 95 % confidence interval and the two-sided p-value; both hold
    at all looks together where the analysis says so."""

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


class MetricResponse(BaseModel):
    """A metric of a variant. Money is text in major units; difference is null for the control."""

    quantity: str = Field(description="share, money, number or milliseconds")
    better: str = Field(description="Whether higher or lower values are better")
    mean: float | str | None = Field(description="As measured")
    difference: ControlDifferenceResponse | MoneyDifferenceResponse | None = Field(
        description="Adjusted by what the units did before (CUPED)"
    )
    relative: ControlDifferenceResponse | None = Field(
        description="The difference as a share of the control's mean"
    )
    p_adjusted: float | None = Field(
        description="The p-value that knows of the other variants or secondary metrics"
    )


class VariantResultResponse(BaseModel):
    """How many units were exposed to the variant, how many of them had done nothing in the weeks
    before, and its metrics by name."""

    name: str
    n: int
    n_new: int
    metrics: dict[str, MetricResponse]


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


class GuardrailEvidenceResponse(BaseModel):
    """What is known of the harm by a variant; null while there are too few units."""

    metric: str
    variant: str
    margin: float
    change: float | None
    least_harm: float | None
    p_value: float | None
    must_stop: bool


class SegmentResponse(BaseModel):
    """The primary metric of a part of the units. A segment decides nothing."""

    segment: str
    value: str
    n: dict[str, int]
    metrics: dict[str, MetricResponse]


class ExposureDayResponse(BaseModel):
    """The units that were first exposed until the end of a day."""

    day: str
    n: dict[str, int]


class PreferenceResponse(BaseModel):
    """Which of two interleaved rankers is clicked: `lead` above 0 is that of the second one."""

    lead: float
    low: float
    high: float
    p_value: float
    n_units: int


class ResultsResponse(BaseModel):
    """The results of an experiment until now, or until its stop and what it still causes."""

    experiment: str
    status: str
    as_of: str
    stopped_at: str | None = Field(description="Exposures after it do not count")
    counted_until: str = Field(
        description="Events before it count: now, or the stop and attribution_days after it"
    )
    analysis: str
    primary_metric: str
    control: str
    currency: str
    variants: list[VariantResultResponse]
    other_currency: list[str] = Field(
        description="Zones whose purchases are no money here: another currency"
    )
    n_mixed: int
    n_unknown: int
    sample_ratio_p_value: float | None = Field(
        description="Below 0.001 the split is taken for broken and there is no verdict"
    )
    imbalance_p_value: float | None = Field(
        description="Below 0.001 the variants differed before the exposure, and there is no verdict"
    )
    explained_share: float = Field(
        description="Of the primary metric's variance, by what the units did before"
    )
    guardrails: list[GuardrailEvidenceResponse]
    segments: list[SegmentResponse]
    days: list[ExposureDayResponse]
    preference: PreferenceResponse | None
    non_inferiority: NonInferiorityResponse | None
    verdict: str


def describe_report(report: ExperimentReport, currency: str) -> ResultsResponse:
    """Return the JSON of a report; money in major units of `currency`."""
    preference = report.preference
    return ResultsResponse(
        experiment=report.experiment,
        status=report.status,
        as_of=_write_time(report.as_of),
        stopped_at=None if report.stopped_at is None else _write_time(report.stopped_at),
        counted_until=_write_time(report.counted_until),
        analysis=report.analysis,
        primary_metric=report.primary_metric,
        control=report.control,
        currency=currency,
        variants=[_describe_variant(variant, currency) for variant in report.variants],
        other_currency=list(report.other_currency),
        n_mixed=report.n_mixed,
        n_unknown=report.n_unknown,
        sample_ratio_p_value=report.sample_ratio_p_value,
        imbalance_p_value=report.imbalance_p_value,
        explained_share=report.explained_share,
        guardrails=[_describe_guardrail(result) for result in report.guardrails],
        segments=[
            SegmentResponse(
                segment=part.segment,
                value=part.value,
                n=dict(part.n),
                metrics={
                    name: _describe_metric(result, currency)
                    for name, result in part.metrics.items()
                },
            )
            for part in report.segments
        ],
        days=[ExposureDayResponse(day=one.day, n=dict(one.n)) for one in report.days],
        preference=None
        if preference is None
        else PreferenceResponse.model_validate(preference, from_attributes=True),
        non_inferiority=_describe_non_inferiority(report),
        verdict=report.verdict.text,
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


def _describe_guardrail(result: GuardrailResult) -> GuardrailEvidenceResponse:
    evidence = result.evidence
    return GuardrailEvidenceResponse(
        metric=result.metric,
        variant=result.variant,
        margin=result.margin,
        change=None if evidence is None or not math.isfinite(evidence.change) else evidence.change,
        least_harm=None if evidence is None else evidence.least_harm,
        p_value=None if evidence is None else evidence.p_value,
        must_stop=evidence is not None and evidence.must_stop,
    )


def _describe_variant(variant: VariantResult, currency: str) -> VariantResultResponse:
    metrics = {name: _describe_metric(result, currency) for name, result in variant.metrics.items()}
    return VariantResultResponse(
        name=variant.name, n=variant.n, n_new=variant.n_new, metrics=metrics
    )


def _describe_metric(result: MetricResult, currency: str) -> MetricResponse:
    is_money = result.quantity == "money"
    mean: float | str | None = result.mean
    if is_money and result.mean is not None:
        mean = mean_to_major(result.mean, currency)
    difference: ControlDifferenceResponse | MoneyDifferenceResponse | None = None
    if result.difference is not None and is_money:
        difference = _describe_money(result.difference, currency)
    elif result.difference is not None:
        difference = _describe_difference(result.difference)
    relative = None if result.relative is None else _describe_difference(result.relative)
    return MetricResponse(
        quantity=result.quantity,
        better=result.better,
        mean=mean,
        difference=difference,
        relative=relative,
        p_adjusted=result.p_adjusted,
    )


def _describe_difference(difference: Difference) -> ControlDifferenceResponse:
    return ControlDifferenceResponse.model_validate(difference, from_attributes=True)


def _describe_money(difference: Difference, currency: str) -> MoneyDifferenceResponse:
    return MoneyDifferenceResponse(
        value=mean_to_major(difference.value, currency),
        low=mean_to_major(difference.low, currency),
        high=mean_to_major(difference.high, currency),
        p_value=difference.p_value,
    )
