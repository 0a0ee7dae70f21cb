"""The report of an experiment: metrics by variant, differences to the control, and a verdict.

A unit counts under the variant of its first exposure, up to the stop of the experiment. A visitor
who came back as a user is one unit with that user. The outcomes of a unit are the purchases from
that exposure on, strictly before the stop and the attribution window after it: asked later, the
report says the same. The database reduces everything to one row per variant; the statistics are
arithmetic on those rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from experiments.analysis.links import merge_units, select_links
from experiments.analysis.statistics import (
    NO_VALUES,
    Difference,
    MarginTest,
    Moments,
    compare_means,
    compare_with_margin,
    compute_sample_ratio_p_value,
)
from experiments.definition import CHAINS, Experiment, NonInferiority
from features.contracts.tables import EventType
from features.pipelines.expressions import zone_of

SAMPLE_RATIO_LEVEL = 0.001
"""Below this p-value the split counts as broken, and no verdict is given."""

SIGNIFICANCE = 0.05
"""The probability of a false verdict, over all variants together (Bonferroni)."""

METRICS: tuple[str, ...] = ("purchase_conversion", "revenue_per_unit")

_SEVERAL_VARIANTS = ""
_WHOLE = "decimal(18, 0)"
_SUM = "decimal(38, 0)"


@dataclass(frozen=True)
class MetricResult:
    """One metric of one variant.

    mean         over its units: a share of units (purchase_conversion) or minor units of money
                 (revenue_per_unit); None without units
    difference   variant minus control; None for the control, and with fewer than two units on
                 either side
    """

    mean: float | None
    difference: Difference | None


@dataclass(frozen=True)
class VariantResult:
    """One variant: the number of its units, and its metrics by name."""

    name: str
    n: int
    metrics: Mapping[str, MetricResult]


@dataclass(frozen=True)
class NonInferiorityResult:
    """One variant beside the control by the stated margin.

    shown   the variant loses less than the margin, at the level of the verdict; None: no test is
            possible
    """

    variant: str
    test: MarginTest | None
    shown: bool | None


@dataclass(frozen=True)
class ExperimentReport:
    """The results of one experiment at `as_of`.

    stopped_at              exposures until then count; None while the experiment runs
    counted_until           purchases before this instant count: `as_of`, or the stop and the
                            attribution window after it
    non_inferiority         the stated hypothesis, and its result by variant; None and empty where
                            none was stated
    other_currency          zones whose purchases count for conversion but not for revenue, which is
                            in one currency
    n_mixed                 units left out because they met several variants
    n_unknown               units left out because their variant is not in the definition (any more)
    sample_ratio_p_value    probability of a split at least as uneven if the weights hold; None
                            without units
    verdict                 one line: a decision, or "no decision: " and why
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
    verdict: str
    non_inferiority: NonInferiority | None = None
    non_inferiority_results: tuple[NonInferiorityResult, ...] = ()


def build_report(
    experiment: Experiment,
    exposures: pa.Table | ir.Table,
    events: ir.Table,
    *,
    as_of: datetime,
    links: pa.Table | None = None,
    other_currency: Sequence[str] = (),
) -> ExperimentReport:
    """Return the report of `experiment` at `as_of`.

    exposures        this experiment's exposures: unit_id, variant, exposed_at
                     (features.facts.exposures.read_first_exposures returns it)
    events           in the stored schema of `events`
    links            the visitors who came back as users: visitor_id, user_id, linked_at
                     (features.facts.exposures.read_links returns it). Each counts as that user
    other_currency   zones that sell in another currency than the rest: their sales are no revenue
                     here
    """
    if isinstance(exposures, pa.Table):
        exposures = ibis.memtable(exposures.select(["unit_id", "variant", "exposed_at"]))
    span = _find_span(experiment, exposures, as_of)
    if span.stopped_at is not None:
        stop = ibis.literal(span.stopped_at.astimezone(UTC))
        exposures = exposures.filter(exposures.exposed_at <= stop)
    rows = aggregate_moments(
        exposures,
        events,
        unit_columns=CHAINS[experiment.unit],
        links=select_links(links, min(as_of, span.stopped_at or as_of)),
        as_of=span.counted_until,
        other_currency=other_currency,
    )
    sums_by_variant = _read_sums(rows.to_pyarrow())
    names = [variant.name for variant in experiment.variants]
    results = _compare_variants(experiment, sums_by_variant)
    weights = [variant.weight for variant in experiment.variants]
    sample_ratio = compute_sample_ratio_p_value([result.n for result in results], weights)
    several = sums_by_variant.get(_SEVERAL_VARIANTS)
    unknown = set(sums_by_variant) - {*names, _SEVERAL_VARIANTS}
    non_inferiority = _test_margins(experiment, sums_by_variant)
    return ExperimentReport(
        experiment=experiment.key,
        status=experiment.status,
        as_of=as_of,
        stopped_at=span.stopped_at,
        counted_until=span.counted_until,
        primary_metric=experiment.primary_metric,
        control=experiment.control,
        variants=results,
        other_currency=tuple(sorted(other_currency)),
        n_mixed=0 if several is None else several.n,
        n_unknown=sum(sums_by_variant[name].n for name in unknown),
        sample_ratio_p_value=sample_ratio,
        verdict=_find_obstacle(span, results, sample_ratio)
        or _decide(experiment, results, non_inferiority),
        non_inferiority=experiment.non_inferiority,
        non_inferiority_results=non_inferiority,
    )


@dataclass(frozen=True)
class _Span:
    """When an experiment stopped, until when purchases count, and until when they will in the end.

    stopped_at, ends_at   None while it runs
    """

    stopped_at: datetime | None
    counted_until: datetime
    ends_at: datetime | None


def _find_span(experiment: Experiment, exposures: ir.Table, as_of: datetime) -> _Span:
    """Return the span that a report at `as_of` counts.

    An experiment whose file says `stopped` without a time stopped at its last exposure.
    """
    if experiment.running:
        return _Span(None, as_of, None)
    stopped_at = experiment.stopped_at
    if stopped_at is None:
        known = exposures.filter(exposures.exposed_at < ibis.literal(as_of.astimezone(UTC)))
        stopped_at = known.exposed_at.max().to_pyarrow().as_py() or as_of
    ends_at = stopped_at + timedelta(days=experiment.attribution_days)
    return _Span(stopped_at, min(as_of, ends_at), ends_at)


def aggregate_moments(
    exposures: ir.Table,
    events: ir.Table,
    *,
    unit_columns: Sequence[str],
    as_of: datetime,
    links: Mapping[str, str],
    other_currency: Sequence[str] = (),
) -> ir.Table:
    """Return one row per variant: n, and the sum and sum of squares of each metric over its units.

    Columns variant, n, <metric>_sum, <metric>_squares: whole numbers as decimals, so that no order
    of rows changes the last digit. Units that met several variants are in the row of variant "".
    `links` has the users by the visitors they were: exposures and purchases of both are of one
    unit.
    """
    now = ibis.literal(as_of.astimezone(UTC))
    units = (
        merge_units(exposures.filter(exposures.exposed_at < now), "unit_id", links)
        .group_by("unit_id")
        .aggregate(
            exposed_at=lambda rows: rows.exposed_at.min(),
            variant=lambda rows: ibis.ifelse(
                rows.variant.nunique() > 1, _SEVERAL_VARIANTS, rows.variant.min()
            ),
        )
    )
    purchases = events.filter(
        events.event_type == EventType.PURCHASE.value, events.occurred_at < now
    ).select(
        buyer=ibis.coalesce(*(events[column] for column in unit_columns)),
        occurred_at=events.occurred_at,
        amount=ibis.ifelse(
            zone_of(events).isin(tuple(other_currency)), 0, events.line_amount_minor.coalesce(0)
        ),
    )
    purchases = merge_units(purchases, "buyer", links)
    outcomes = (
        units.left_join(
            purchases, [units.unit_id == purchases.buyer, units.exposed_at <= purchases.occurred_at]
        )
        .group_by("unit_id", "variant")
        .aggregate(
            purchase_conversion=lambda rows: rows.buyer.notnull().any().cast("int64").cast(_WHOLE),
            revenue_per_unit=lambda rows: rows.amount.sum().coalesce(0).cast(_WHOLE),
        )
    )
    sums = {f"{metric}_sum": outcomes[metric].sum().cast(_SUM) for metric in METRICS}
    squares = {
        f"{metric}_squares": (outcomes[metric] * outcomes[metric]).sum().cast(_SUM)
        for metric in METRICS
    }
    return outcomes.group_by("variant").aggregate(n=outcomes.count(), **sums, **squares)


@dataclass(frozen=True)
class _VariantSums:
    """The number of a variant's units, and their moments by metric."""

    n: int
    moments: Mapping[str, Moments]


def _read_sums(rows: pa.Table) -> dict[str, _VariantSums]:
    """Return the sums by variant, of rows as `aggregate_moments` returns them."""
    sums_by_variant = {}
    for row in rows.to_pylist():
        moments = {
            metric: Moments.from_sums(
                row["n"], int(row[f"{metric}_sum"]), int(row[f"{metric}_squares"])
            )
            for metric in METRICS
        }
        sums_by_variant[row["variant"]] = _VariantSums(row["n"], moments)
    return sums_by_variant


def _compare_variants(
    experiment: Experiment, sums_by_variant: Mapping[str, _VariantSums]
) -> tuple[VariantResult, ...]:
    """Return the result of each variant, in the order of the definition."""
    without_units = _VariantSums(0, dict.fromkeys(METRICS, NO_VALUES))
    control = sums_by_variant.get(experiment.control, without_units)
    results = []
    for variant in experiment.variants:
        sums = sums_by_variant.get(variant.name, without_units)
        metrics: dict[str, MetricResult] = {}
        for metric in METRICS:
            moments = sums.moments[metric]
            is_control = variant.name == experiment.control
            difference = None if is_control else compare_means(moments, control.moments[metric])
            metrics[metric] = MetricResult(moments.mean, difference)
        results.append(VariantResult(variant.name, sums.n, metrics))
    return tuple(results)


def _test_margins(
    experiment: Experiment, sums_by_variant: Mapping[str, _VariantSums]
) -> tuple[NonInferiorityResult, ...]:
    """Return the tests of the stated margin by variant; none where none is stated."""
    hypothesis = experiment.non_inferiority
    if hypothesis is None:
        return ()
    without_units = _VariantSums(0, dict.fromkeys(METRICS, NO_VALUES))
    control = sums_by_variant.get(experiment.control, without_units)
    results = []
    for variant in experiment.variants:
        if variant.name == experiment.control:
            continue
        sums = sums_by_variant.get(variant.name, without_units)
        test = compare_with_margin(
            sums.moments[hypothesis.metric], control.moments[hypothesis.metric], hypothesis.margin
        )
        shown = None if test is None else test.p_value < SIGNIFICANCE / _count_rivals(experiment)
        results.append(NonInferiorityResult(variant.name, test, shown))
    return tuple(results)


def _count_rivals(experiment: Experiment) -> int:
    return len(experiment.variants) - 1


def _find_obstacle(
    span: _Span, results: Sequence[VariantResult], sample_ratio: float | None
) -> str | None:
    """Return why there is no decision yet; None where there may be one.

    Only an experiment that stopped, and whose purchases are all counted, decides: a test that is
    read again and again finds differences that are not there.
    """
    if sample_ratio is not None and sample_ratio < SAMPLE_RATIO_LEVEL:
        return "no decision: sample ratio mismatch"
    if any(result.n < 2 for result in results):
        return "no decision: fewer than two units in a variant"
    if span.ends_at is None:
        return "no decision: still running"
    if span.counted_until < span.ends_at:
        ends_at = span.ends_at.astimezone(UTC)
        return f"no decision: purchases count until {ends_at:%Y-%m-%d %H:%M} UTC"
    return None


def _decide(
    experiment: Experiment,
    results: Sequence[VariantResult],
    non_inferiority: Sequence[NonInferiorityResult],
) -> str:
    """Return the verdict, one line: who is better, then who is not worse by the stated margin."""
    metric = experiment.primary_metric
    level = SIGNIFICANCE / _count_rivals(experiment)
    winners: list[tuple[float, str]] = []
    losers: list[str] = []
    for result in results:
        difference = result.metrics[metric].difference
        if difference is None or difference.p_value >= level:
            continue
        if difference.value > 0:
            winners.append((difference.value, result.name))
        else:
            losers.append(result.name)
    if winners:
        return f"{max(winners)[1]} beats {experiment.control} on {metric}"
    hypothesis = experiment.non_inferiority
    not_worse = [
        (result.test.change, result.variant)
        for result in non_inferiority
        if result.test is not None and result.shown
    ]
    if hypothesis is not None and not_worse:
        lost = f"{hypothesis.margin * 100:.3g}% of {hypothesis.metric}"
        return (
            f"{max(not_worse)[1]} is not worse than {experiment.control}: it loses less than {lost}"
        )
    if len(losers) == len(results) - 1:
        return f"keep {experiment.control}: better on {metric} than {', '.join(losers)}"
    if hypothesis is not None:
        lost = f"{hypothesis.margin * 100:.3g}% of {hypothesis.metric}"
        return f"no decision: a loss of {lost} against {experiment.control} is not ruled out"
    return f"no decision: no difference in {metric} beyond chance"
