"""What an experiment says so far: per variant the metrics, their difference to the control, and a
verdict.

A unit counts under the variant of its first exposure. Its outcomes are the purchases from that
exposure on, strictly before `as_of`. The database reduces everything to one row per variant; the
statistics are arithmetic on those rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import ibis
import pyarrow as pa

from experiments.analysis.statistics import (
    NOTHING,
    Difference,
    Moments,
    sample_ratio_p_value,
    welch,
)
from experiments.definition import CHAINS, Experiment, Metric
from features.contracts.tables import EventType
from features.pipelines.expressions import zone_of

SAMPLE_RATIO_LEVEL = 0.001
"""Below this p-value the split is taken for broken, and no verdict is given."""

SIGNIFICANCE = 0.05
"""The chance of a false verdict, over all variants together (Bonferroni)."""

METRICS: tuple[Metric, ...] = ("purchase_conversion", "revenue_per_unit")

_MIXED = ""
_WHOLE = "decimal(18, 0)"
_SUM = "decimal(38, 0)"


@dataclass(frozen=True)
class MetricResult:
    """`mean` over the variant's units: a share of units (purchase_conversion) or minor units of
    money each.

    `mean` is None without units; `difference` (variant minus control) is None for the control and
    with fewer than two units on either side.
    """

    mean: float | None
    difference: Difference | None


@dataclass(frozen=True)
class VariantResult:
    """One variant: how many units met it and its metrics by name."""

    name: str
    n: int
    metrics: Mapping[str, MetricResult]


@dataclass(frozen=True)
class ExperimentReport:
    """The state of one experiment at `as_of`.

    other_currency          zones whose purchases count for conversion but not for revenue, which is
                            in one currency
    n_mixed                 units left out because they met several variants
    n_unknown               units left out because their variant is not in the definition (any more)
    sample_ratio_p_value    chance of a split at least as uneven if the weights hold; None without
                            units
    verdict                 one line: a decision, or "no decision: " and why
    """

    experiment: str
    status: str
    as_of: datetime
    primary_metric: str
    control: str
    variants: tuple[VariantResult, ...]
    other_currency: tuple[str, ...]
    n_mixed: int
    n_unknown: int
    sample_ratio_p_value: float | None
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `as_of` in ISO 8601, UTC."""
        return {**asdict(self), "as_of": self.as_of.astimezone(UTC).isoformat()}


def report(
    experiment: Experiment,
    exposures: Any,
    events: Any,
    *,
    as_of: datetime,
    other_currency: Sequence[str] = (),
) -> ExperimentReport:
    """The report of `experiment` at `as_of`.

    other_currency    zones that sell in another currency than the rest: what they sell is no
                      revenue here
    exposures    Arrow table or Ibis table of this experiment's exposures: unit_id, variant,
                 exposed_at
                 (features.facts.exposures.first_exposures gives it)
    events       Ibis table in the stored schema of `events`
    """
    if isinstance(exposures, pa.Table):
        exposures = ibis.memtable(exposures.select(["unit_id", "variant", "exposed_at"]))
    rows = moments_by_variant(
        exposures,
        events,
        unit_columns=CHAINS[experiment.unit],
        as_of=as_of,
        other_currency=other_currency,
    ).to_pyarrow()
    found = {row["variant"]: row for row in rows.to_pylist()}
    arms = [variant.name for variant in experiment.variants]
    results = _results(experiment, found)
    weights = [variant.weight for variant in experiment.variants]
    sample_ratio = sample_ratio_p_value([result.n for result in results], weights)
    return ExperimentReport(
        experiment=experiment.key,
        status=experiment.status,
        as_of=as_of,
        primary_metric=experiment.primary_metric,
        control=experiment.control,
        variants=results,
        other_currency=tuple(sorted(other_currency)),
        n_mixed=found.get(_MIXED, {"n": 0})["n"],
        n_unknown=sum(
            row["n"] for name, row in found.items() if name not in arms and name != _MIXED
        ),
        sample_ratio_p_value=sample_ratio,
        verdict=_verdict(experiment, results, sample_ratio),
    )


def moments_by_variant(
    exposures: Any,
    events: Any,
    *,
    unit_columns: Sequence[str],
    as_of: datetime,
    other_currency: Sequence[str] = (),
) -> Any:
    """Ibis: per variant n, and the sum and sum of squares of each metric over its units, whole
    numbers both.

    Columns variant, n, <metric>_sum, <metric>_squares (decimals, so that no order of rows changes
    the last digit). Units that met several variants are gathered under the variant "".
    """
    now = ibis.literal(as_of.astimezone(UTC))
    units = (
        exposures.filter(exposures.exposed_at < now)
        .group_by("unit_id")
        .aggregate(
            exposed_at=lambda t: t.exposed_at.min(),
            variant=lambda t: ibis.ifelse(t.variant.nunique() > 1, _MIXED, t.variant.min()),
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
    outcomes = (
        units.left_join(
            purchases, [units.unit_id == purchases.buyer, units.exposed_at <= purchases.occurred_at]
        )
        .group_by("unit_id", "variant")
        .aggregate(
            purchase_conversion=lambda t: t.buyer.notnull().any().cast("int64").cast(_WHOLE),
            revenue_per_unit=lambda t: t.amount.sum().coalesce(0).cast(_WHOLE),
        )
    )
    sums = {f"{metric}_sum": outcomes[metric].sum().cast(_SUM) for metric in METRICS}
    squares = {
        f"{metric}_squares": (outcomes[metric] * outcomes[metric]).sum().cast(_SUM)
        for metric in METRICS
    }
    return outcomes.group_by("variant").aggregate(n=outcomes.count(), **sums, **squares)


def _results(
    experiment: Experiment, found: Mapping[str, Mapping[str, Any]]
) -> tuple[VariantResult, ...]:
    def moments(name: str, metric: str) -> Moments:
        row = found.get(name)
        return (
            Moments.of(row["n"], int(row[f"{metric}_sum"]), int(row[f"{metric}_squares"]))
            if row
            else NOTHING
        )

    def result(name: str, metric: str) -> MetricResult:
        own = moments(name, metric)
        control = moments(experiment.control, metric)
        return MetricResult(own.mean, None if name == experiment.control else welch(own, control))

    arms = [variant.name for variant in experiment.variants]
    return tuple(
        VariantResult(
            name,
            found[name]["n"] if name in found else 0,
            {each: result(name, each) for each in METRICS},
        )
        for name in arms
    )


def _verdict(
    experiment: Experiment, results: Sequence[VariantResult], sample_ratio: float | None
) -> str:
    """One line. Only a stopped experiment decides: a test read again and again finds differences
    that are not there."""
    metric = experiment.primary_metric
    if sample_ratio is not None and sample_ratio < SAMPLE_RATIO_LEVEL:
        return "no decision: sample ratio mismatch"
    if any(result.n < 2 for result in results):
        return "no decision: fewer than two units in a variant"
    if experiment.running:
        return "no decision: still running"
    level = SIGNIFICANCE / (len(results) - 1)
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
    if len(losers) == len(results) - 1:
        return f"keep {experiment.control}: better on {metric} than {', '.join(losers)}"
    return f"no decision: no difference in {metric} beyond chance"
