"""The report of an experiment: metrics by variant, differences to the control, and a verdict.

A unit counts under the variant of its first exposure, up to the stop of the experiment. A visitor
who came back as a user is one unit with that user. The outcomes of a unit are its events from that
exposure on, strictly before the stop and the attribution window after it: asked later, the report
says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from experiments.analysis.comparisons import (
    GuardrailResult,
    MetricComparison,
    MetricResult,
    NonInferiorityResult,
    adjust_p_values,
    check_guardrails,
    compare_adaptively,
    compare_latencies,
    compare_margins,
    compare_metric,
    measure_coverage,
)
from experiments.analysis.links import select_links
from experiments.analysis.sample_ratio import compute_sample_ratio_p_value
from experiments.analysis.team_credit import Preference, compare_teams, credit_clicks
from experiments.analysis.unit_outcomes import (
    SEVERAL_VARIANTS,
    OutcomeInputs,
    UnitOutcomes,
    find_units,
    read_outcomes,
)
from experiments.analysis.verdict import Evidence, Verdict, find_verdict
from experiments.definition import CHAINS, Experiment, NonInferiority
from experiments.metrics import Metric
from features.contracts.event_types import VIEW_TYPES
from features.facts.slates import ANSWERS

ALWAYS = ("purchase_conversion", "revenue_per_unit")
"""The metrics that every report has."""

_DAYS = 60  # of the table by day, the latest


@dataclass(frozen=True)
class VariantResult:
    """One variant: the number of its units, how many of them had done nothing before, and its
    metrics by name."""

    name: str
    n: int
    n_new: int
    metrics: Mapping[str, MetricResult]


@dataclass(frozen=True)
class SegmentResult:
    """The primary metric of a part of the units, by variant; a segment decides nothing."""

    segment: str
    value: str
    n: Mapping[str, int]
    metrics: Mapping[str, MetricResult]


@dataclass(frozen=True)
class DayResult:
    """How many units of each variant were first exposed until the end of a day, YYYY-MM-DD."""

    day: str
    n: Mapping[str, int]


@dataclass(frozen=True)
class ExperimentReport:
    """The results of one experiment at `as_of`.

    stopped_at              exposures until then count; None while the experiment runs
    counted_until           events before this instant count: `as_of`, or the stop and the
                            attribution window after it
    analysis                how the primary metric may be looked at
    explained_share         of the primary metric's variance, by what units did before
    non_inferiority         the stated hypothesis, and its result by variant; None and empty where
                            none was stated
    guardrails              what is known of the harm to each guardrail
    segments                the primary metric by the segments that were named before the start
    days                    units by the day of their first exposure, added up
    preference              of interleaved rankers; None for others
    other_currency          zones whose purchases count for conversion but not for money, which is
                            in one currency
    n_mixed                 units left out because they met several variants
    n_unknown               units left out because their variant is not in the definition (any more)
    sample_ratio_p_value    probability of a split at least as uneven if the weights hold; None
                            without units
    imbalance_p_value       probability of variants that differ so much before the exposure
    verdict                 a decision, or why there is none
    """

    experiment: str
    status: str
    as_of: datetime
    stopped_at: datetime | None
    counted_until: datetime
    primary_metric: str
    control: str
    variants: tuple[VariantResult, ...]
    other_currency: tuple[str, ...]
    n_mixed: int
    n_unknown: int
    sample_ratio_p_value: float | None
    verdict: Verdict
    analysis: str = "fixed"
    explained_share: float = 0.0
    imbalance_p_value: float | None = None
    non_inferiority: NonInferiority | None = None
    non_inferiority_results: tuple[NonInferiorityResult, ...] = ()
    guardrails: tuple[GuardrailResult, ...] = ()
    segments: tuple[SegmentResult, ...] = ()
    days: tuple[DayResult, ...] = ()
    preference: Preference | None = None


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made from.

    exposures        this experiment's first exposures: unit_id, variant, exposed_at
    events           in the stored schema of `events`
    answers          the logged answers of the experiment, see features.facts.slates.ANSWERS
    costs            item_id and unit_cost_minor
    n_items          in the catalogue
    links            the visitors who came back as users: visitor_id, user_id, linked_at. Each
                     counts as that user
    other_currency   zones that sell in another currency than the rest: their sales are no money
                     here
    allocations      where the shares of the variants follow their results, the shares from an
                     instant on, in order of time
    """

    exposures: pa.Table
    events: ir.Table
    answers: pa.Table = field(default_factory=ANSWERS.empty_table)
    costs: ir.Table | None = None
    n_items: int = 0
    links: pa.Table | None = None
    other_currency: Sequence[str] = ()
    allocations: Sequence[tuple[datetime, Mapping[str, float]]] = ()


def build_report(
    experiment: Experiment,
    inputs: ReportInputs,
    metrics: Mapping[str, Metric],
    *,
    as_of: datetime,
) -> ExperimentReport:
    """Return the report of `experiment` at `as_of`; `metrics` are all of the shop by name."""
    exposures = ibis.memtable(inputs.exposures)
    span = _find_span(experiment, exposures, as_of)
    if span.stopped_at is not None:
        stop = ibis.literal(span.stopped_at.astimezone(UTC))
        exposures = exposures.filter(exposures.exposed_at <= stop)
    links = select_links(inputs.links, span.stopped_at or as_of)
    inputs = replace(inputs, answers=_merge_answers(inputs.answers, links))
    used = {name: metrics[name] for name in dict.fromkeys((*experiment.metrics, *ALWAYS))}
    units = find_units(exposures, span.counted_until, links)
    outcomes = read_outcomes(units, used, _select_inputs(experiment, inputs, span, links))
    comparisons = _compare_all(experiment, used, outcomes, inputs)
    names = [variant.name for variant in experiment.variants]
    counts = {name: int((outcomes.variant == name).sum()) for name in names}
    sample_ratio = _test_split(experiment, list(counts.values()))
    preference = _find_preference(experiment, inputs)
    primary = comparisons[experiment.primary_metric]
    evidence = Evidence(
        counts=counts,
        primary=primary.results,
        margins=compare_margins(experiment, comparisons),
        guardrails=check_guardrails(experiment, comparisons, used),
        sample_ratio=sample_ratio,
        imbalance=primary.imbalance,
        preference=preference,
        counted_until=span.counted_until,
        ends_at=span.ends_at,
    )
    is_known = np.isin(outcomes.variant.astype(str), [*names, SEVERAL_VARIANTS])
    return ExperimentReport(
        experiment=experiment.key,
        status=experiment.status,
        as_of=as_of,
        stopped_at=span.stopped_at,
        counted_until=span.counted_until,
        primary_metric=experiment.primary_metric,
        control=experiment.control,
        variants=_list_variants(experiment, comparisons, outcomes, counts),
        other_currency=tuple(sorted(inputs.other_currency)),
        n_mixed=int((outcomes.variant == SEVERAL_VARIANTS).sum()),
        n_unknown=int((~is_known).sum()),
        sample_ratio_p_value=sample_ratio,
        verdict=find_verdict(experiment, evidence),
        analysis=experiment.analysis,
        explained_share=primary.explained_share,
        imbalance_p_value=primary.imbalance,
        non_inferiority=experiment.non_inferiority,
        non_inferiority_results=evidence.margins,
        guardrails=evidence.guardrails,
        segments=_cut_segments(experiment, used, outcomes, inputs.answers),
        days=_list_days(names, outcomes),
        preference=preference,
    )


@dataclass(frozen=True)
class _Span:
    """When an experiment stopped, until when events count, and until when they will in the end.

    stopped_at, ends_at   None while it runs
    """

    stopped_at: datetime | None
    counted_until: datetime
    ends_at: datetime | None


def _find_span(experiment: Experiment, exposures: ir.Table, as_of: datetime) -> _Span:
    """Return the span that a report at `as_of` counts.

    An experiment whose file says `stopped` without a time stopped at its last exposure.
    """
    if experiment.status in ("running", "draft"):
        return _Span(None, as_of, None)
    stopped_at = experiment.stopped_at
    if stopped_at is None:
        known = exposures.filter(exposures.exposed_at < ibis.literal(as_of.astimezone(UTC)))
        stopped_at = known.exposed_at.max().to_pyarrow().as_py() or as_of
    ends_at = stopped_at + timedelta(days=experiment.attribution_days)
    return _Span(stopped_at, min(as_of, ends_at), ends_at)


def _select_inputs(
    experiment: Experiment, inputs: ReportInputs, span: _Span, links: Mapping[str, str]
) -> OutcomeInputs:
    """Return what the outcomes of units are computed from."""
    return OutcomeInputs(
        events=inputs.events,
        unit_columns=CHAINS[experiment.unit],
        until=span.counted_until,
        answers=inputs.answers,
        costs=inputs.costs,
        links=links,
        other_currency=inputs.other_currency,
    )


def _test_split(experiment: Experiment, counts: Sequence[int]) -> float | None:
    """Return the p-value of the counts by the weights; None where the weights are not fixed."""
    if experiment.allocation != "fixed":
        return None
    weights = [variant.weight for variant in experiment.variants]
    return compute_sample_ratio_p_value(counts, weights)


def _merge_answers(answers: pa.Table, links: Mapping[str, str]) -> pa.Table:
    """Return the answers with the user in place of each visitor that they were."""
    units = [links.get(unit, unit) for unit in answers["unit_id"].to_pylist()]
    column = answers.schema.get_field_index("unit_id")
    return answers.set_column(column, "unit_id", pa.array(units, pa.string()))


def _compare_all(
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    outcomes: UnitOutcomes,
    inputs: ReportInputs,
) -> dict[str, MetricComparison]:
    variants = dict(zip(outcomes.unit_id.tolist(), outcomes.variant.tolist(), strict=True))
    comparisons: dict[str, MetricComparison] = {}
    for name, metric in metrics.items():
        if metric.kind == "quantile":
            comparisons[name] = compare_latencies(experiment, metric, inputs.answers, variants)
        elif metric.kind == "coverage":
            comparisons[name] = measure_coverage(
                experiment, metric, inputs.answers, variants, inputs.n_items
            )
        else:
            comparisons[name] = compare_metric(experiment, name, metric, outcomes)
    primary = experiment.primary_metric
    if experiment.allocation == "thompson" and metrics[primary].kind == "mean":
        comparisons[primary] = compare_adaptively(
            experiment, comparisons[primary], outcomes, inputs.allocations
        )
    return adjust_p_values(experiment, comparisons)


def _find_preference(experiment: Experiment, inputs: ReportInputs) -> Preference | None:
    """Return which of two interleaved rankers the units click; None for others."""
    if experiment.allocation != "interleave":
        return None
    second = next(one.name for one in experiment.variants if one.name != experiment.control)
    events = inputs.events
    answers = ibis.memtable(pa.table({"answer_id": inputs.answers["recommendation_id"]}))
    clicked = events.inner_join(answers, events.recommendation_id == answers.answer_id)
    clicked = clicked.filter(clicked.event_type.isin(VIEW_TYPES))
    rows = clicked.select("recommendation_id", "item_id").distinct().to_pyarrow()
    clicks = set(
        zip(rows["recommendation_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)
    )
    return compare_teams(credit_clicks(inputs.answers, clicks, second))


def _list_variants(
    experiment: Experiment,
    comparisons: Mapping[str, MetricComparison],
    outcomes: UnitOutcomes,
    counts: Mapping[str, int],
) -> tuple[VariantResult, ...]:
    """Return the result of each variant, in the order of the definition."""
    return tuple(
        VariantResult(
            name=variant.name,
            n=counts[variant.name],
            n_new=int((outcomes.is_new & (outcomes.variant == variant.name)).sum()),
            metrics={
                name: comparison.results[variant.name] for name, comparison in comparisons.items()
            },
        )
        for variant in experiment.variants
    )


def _cut_segments(
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    outcomes: UnitOutcomes,
    answers: pa.Table,
) -> tuple[SegmentResult, ...]:
    """Return the primary metric of the parts of each segment, those with most units first."""
    name = experiment.primary_metric
    if metrics[name].kind == "quantile":
        return ()
    results = []
    for segment in experiment.segments:
        if segment == "visitor":
            values = np.where(outcomes.is_new, "new", "known").astype(object)
        else:
            pairs = zip(answers["unit_id"].to_pylist(), answers["zone"].to_pylist(), strict=True)
            zones = dict(reversed(list(pairs)))  # that of the first answer
            values = np.array([zones.get(unit, "") for unit in outcomes.unit_id], object)
        found, counts = np.unique(values.astype(str), return_counts=True)
        for index in np.argsort(-counts, kind="stable"):
            among = values == found[index]
            comparison = compare_metric(experiment, name, metrics[name], outcomes, among=among)
            n = {
                variant.name: int((among & (outcomes.variant == variant.name)).sum())
                for variant in experiment.variants
            }
            results.append(SegmentResult(segment, str(found[index]), n, comparison.results))
    return tuple(results)


def _list_days(names: Sequence[str], outcomes: UnitOutcomes) -> tuple[DayResult, ...]:
    """Return the units until the end of each day, the latest _DAYS days."""
    if not len(outcomes.exposed_at):
        return ()
    days = outcomes.exposed_at.astype("datetime64[D]")
    present = np.unique(days)[-_DAYS:]
    results = []
    for day in present:
        until = days <= day
        n = {name: int((until & (outcomes.variant == name)).sum()) for name in names}
        results.append(DayResult(str(day), n))
    return tuple(results)
