"""Comparisons of the variants of an experiment with its control, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa

from experiments.analysis.adaptive_means import AdaptiveOutcomes, compare_arms
from experiments.analysis.estimates import compute_explained_share, estimate_metric, estimate_prior
from experiments.analysis.group_sequential import compare_at_look
from experiments.analysis.guardrail import GuardrailEvidence, GuardrailRule, evaluate_guardrail
from experiments.analysis.moments import NO_VALUES, Moments
from experiments.analysis.multiple_tests import adjust_benjamini_hochberg, adjust_holm
from experiments.analysis.quantiles import compare_quantiles, estimate_quantile
from experiments.analysis.relative import Compare, compare_relative
from experiments.analysis.sample_ratio import compute_imbalance_p_value
from experiments.analysis.sequential import compare_always_valid
from experiments.analysis.statistics import (
    Difference,
    MarginTest,
    compare_means,
    compare_with_margin,
)
from experiments.analysis.sums import UnitSums
from experiments.analysis.unit_outcomes import UnitOutcomes
from experiments.definition import Experiment
from experiments.metrics import Metric, Quantity
from features.contracts.arrays import BoolArray

SIGNIFICANCE = 0.05
"""The probability of a false verdict, over all variants together (Holm)."""

PLANNED_UNITS = 10_000
"""Where nothing is planned, intervals that hold at all times are tightest at so many units."""


@dataclass(frozen=True)
class MetricResult:
    """One metric of one variant.

    mean         over its units, as measured; None without units
    difference   variant minus control, adjusted by what units did before; None for the control, and
                 with fewer than two units on either side
    relative     the same as a share of the control's mean; None where that is not above 0
    p_adjusted   p-value of the difference that knows of the other variants (primary metric, Holm)
                 or of the other secondary metrics (Benjamini-Hochberg)
    """

    mean: float | None
    difference: Difference | None
    relative: Difference | None = None
    p_adjusted: float | None = None
    quantity: Quantity = "number"
    better: Literal["higher", "lower"] = "higher"
    error: float | None = None


@dataclass(frozen=True)
class GuardrailResult:
    """One guardrail of one variant; without evidence there are too few units."""

    metric: str
    variant: str
    margin: float
    evidence: GuardrailEvidence | None


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
class MetricComparison:
    """The variants in one metric.

    explained_share   of the variance by what units did before
    imbalance         p-value of equal behaviour before the exposure; None where it is not known
    """

    results: Mapping[str, MetricResult]
    moments: Mapping[str, Moments]
    explained_share: float = 0.0
    imbalance: float | None = None


def compare_metric(
    experiment: Experiment,
    name: str,
    metric: Metric,
    outcomes: UnitOutcomes,
    *,
    among: BoolArray | None = None,
) -> MetricComparison:
    """Return the comparison of a mean or a ratio, of all units or those `among` them."""
    raw = estimate_metric(outcomes.sum_variants(name, with_prior=False, among=among))
    known = _sum_known(experiment, name, outcomes, among)
    adjusted = compared = estimate_metric(known)
    compare = _choose_test(experiment, name)
    if experiment.analysis == "group_sequential" and name == experiment.primary_metric:
        at_look, shares = _find_look(experiment, outcomes, among)
        compared = estimate_metric(_sum_known(experiment, name, outcomes, at_look))
        compare = _make_look(experiment, shares)
    control = compared.get(experiment.control, NO_VALUES)
    results = {}
    for variant in experiment.variants:
        moments = compared.get(variant.name, NO_VALUES)
        difference = relative = None
        if variant.name != experiment.control:
            difference = compare(moments, control)
            if difference is not None:
                relative = compare_relative(moments, control, compare)
        measured = raw.get(variant.name, NO_VALUES)
        results[variant.name] = MetricResult(
            mean=measured.mean,
            error=_compute_error(measured),
            difference=difference,
            relative=relative,
            quantity=metric.quantity,
            better=metric.better,
        )
    return MetricComparison(
        results=results,
        moments=adjusted,
        explained_share=compute_explained_share(list(known.values())),
        imbalance=compute_imbalance_p_value([estimate_prior(known[one]) for one in sorted(known)]),
    )


def _sum_known(
    experiment: Experiment, name: str, outcomes: UnitOutcomes, among: BoolArray | None
) -> dict[str, UnitSums]:
    """Return the sums by variant of the definition, of those that have units."""
    sums = outcomes.sum_variants(name, with_prior=True, among=among)
    return {one.name: sums[one.name] for one in experiment.variants if one.name in sums}


def _choose_test(experiment: Experiment, name: str) -> Compare:
    """Return the test of a metric by the analysis of the experiment.

    Other metrics than the primary one are read once, at the end, or at any time.
    """
    is_primary = name == experiment.primary_metric
    if experiment.analysis == "fixed" or not (experiment.running or is_primary):
        return compare_means
    level = SIGNIFICANCE / (len(experiment.variants) - 1) if is_primary else SIGNIFICANCE
    planned = experiment.planned_units or PLANNED_UNITS
    # Of the two variants that are compared.
    pair = max(2, round(2 * planned / len(experiment.variants)))

    def compare(ours: Moments, control: Moments) -> Difference | None:
        return compare_always_valid(ours, control, planned_units=pair, level=level)

    return compare


def _make_look(experiment: Experiment, shares: Sequence[float]) -> Compare:
    """Return the test at the last of the looks with these shares of the planned units."""
    level = SIGNIFICANCE / (len(experiment.variants) - 1)

    def compare(ours: Moments, control: Moments) -> Difference | None:
        if not shares:
            return None
        is_last = not experiment.running
        look = compare_at_look(ours, control, shares=shares, level=level, is_last=is_last)
        return None if look is None else look.difference

    return compare


def _find_look(
    experiment: Experiment, outcomes: UnitOutcomes, among: BoolArray | None
) -> tuple[BoolArray, list[float]]:
    """Return the units of the last look, those that came first, and the shares of all looks.

    Between two looks the units that came since do not count: each look is read once, however often
    somebody asks.
    """
    names = [variant.name for variant in experiment.variants]
    counted = np.isin(outcomes.variant.astype(str), names)
    if among is not None:
        counted &= among
    shares = list_look_shares(experiment, int(counted.sum()))
    planned = experiment.planned_units or PLANNED_UNITS
    n_units = round(shares[-1] * planned) if shares else 0
    order = np.argsort(outcomes.exposed_at, kind="stable")
    first = order[counted[order]][:n_units]
    rows = np.zeros(len(counted), bool)
    rows[first] = True
    return rows, shares


def _compute_error(moments: Moments) -> float | None:
    if moments.variance is None or moments.n == 0:
        return None
    return math.sqrt(moments.variance / moments.n)


def compare_adaptively(
    experiment: Experiment,
    comparison: MetricComparison,
    outcomes: UnitOutcomes,
    allocations: Sequence[tuple[datetime, Mapping[str, float]]],
) -> MetricComparison:
    """Return the comparison of the primary metric, a mean, where the shares of the variants
    followed their results.

    allocations   the shares of the variants from an instant on, in order of time, the first ones
                  from the start
    """
    names = [variant.name for variant in experiment.variants]
    weights = {variant.name: variant.weight for variant in experiment.variants}
    begins = np.array([_to_numpy(at) for at, _ in allocations[1:]], "datetime64[us]")
    valid = [shares for _, shares in allocations] or [weights]
    shares = np.array([[each.get(name, 0.0) for name in names] for each in valid])
    known = np.isin(outcomes.variant.astype(str), names)
    order = np.argsort(outcomes.exposed_at[known], kind="stable")
    arms = {name: index for index, name in enumerate(names)}
    at = outcomes.exposed_at[known][order].astype("datetime64[us]")
    followed = AdaptiveOutcomes(
        batch=np.searchsorted(begins, at, side="right"),
        arm=np.array([arms[name] for name in outcomes.variant[known][order]], np.int64),
        reward=outcomes.columns[experiment.primary_metric]["value"][known][order].astype(
            np.float64
        ),
        shares=shares,
    )
    control = arms[experiment.control]
    results = dict(comparison.results)
    for name, arm in arms.items():
        if arm != control and len(followed.arm):
            difference = compare_arms(followed, arm, control)
            results[name] = replace(results[name], difference=difference, relative=None)
    return replace(comparison, results=results)


def _to_numpy(at: datetime) -> np.datetime64:
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def list_look_shares(experiment: Experiment, n_units: int) -> list[float]:
    """Return the information shares of the looks until now: the planned ones, and for a stopped
    experiment what it reached."""
    planned = experiment.planned_units or PLANNED_UNITS
    reached = n_units / planned
    looks = [look / experiment.looks for look in range(1, experiment.looks + 1)]
    shares = [share for share in looks if share <= reached + 1e-9]
    if not experiment.running and reached < 1 and (not shares or reached > shares[-1] + 1e-9):
        shares.append(reached)
    return shares


def compare_latencies(
    experiment: Experiment, metric: Metric, answers: pa.Table, variants: Mapping[str, str]
) -> MetricComparison:
    """Return the comparison of a quantile over answers; `variants` by unit."""
    units = np.asarray(answers["unit_id"].to_pylist(), object)
    arms = np.array([variants.get(unit, "") for unit in units], object)
    values = answers[metric.measure.column or ""].to_numpy().astype(np.float64)
    has_value, quantile = ~np.isnan(values), metric.quantile or 0.5
    estimates = {}
    for variant in experiment.variants:
        rows = has_value & (arms == variant.name)
        estimates[variant.name] = estimate_quantile(values[rows], units[rows].astype(str), quantile)
    control = estimates[experiment.control]
    results = {}
    for variant in experiment.variants:
        estimate, difference = estimates[variant.name], None
        if variant.name != experiment.control and estimate is not None and control is not None:
            difference = compare_quantiles(estimate, control)
        mean = None if estimate is None else estimate.value
        results[variant.name] = MetricResult(
            mean, difference, quantity=metric.quantity, better=metric.better
        )
    return MetricComparison(results, {})


def measure_coverage(
    experiment: Experiment,
    metric: Metric,
    answers: pa.Table,
    variants: Mapping[str, str],
    n_items: int,
) -> MetricComparison:
    """Return the share of the catalogue that each variant showed; one value, without an error."""
    shown: dict[str, set[str]] = {variant.name: set() for variant in experiment.variants}
    for unit, item_ids in zip(
        answers["unit_id"].to_pylist(), answers["item_id"].to_pylist(), strict=True
    ):
        if (arm := variants.get(unit)) in shown:
            shown[arm].update(item_ids or ())
    results = {
        name: MetricResult(
            len(items) / n_items if n_items else None,
            None,
            quantity=metric.quantity,
            better=metric.better,
        )
        for name, items in shown.items()
    }
    return MetricComparison(results, {})


def adjust_p_values(
    experiment: Experiment, comparisons: Mapping[str, MetricComparison]
) -> dict[str, MetricComparison]:
    """Return the comparisons with p-values that know of one another."""
    adjusted = dict(comparisons)
    primary = experiment.primary_metric
    rivals = [one.name for one in experiment.variants if one.name != experiment.control]
    tests = [(primary, rival) for rival in rivals]
    adjusted = _adjust(adjusted, tests, adjust_holm)
    secondary = [(name, rival) for name in experiment.secondary_metrics for rival in rivals]
    return _adjust(adjusted, secondary, adjust_benjamini_hochberg)


def _adjust(
    comparisons: dict[str, MetricComparison], tests: Sequence[tuple[str, str]], adjust: object
) -> dict[str, MetricComparison]:
    present = [
        (name, variant, comparisons[name].results[variant])
        for name, variant in tests
        if comparisons[name].results[variant].difference is not None
    ]
    assert callable(adjust)  # noqa: S101
    values = adjust([result.difference.p_value for *_, result in present if result.difference])
    changed = dict(comparisons)
    for (name, variant, result), value in zip(present, values, strict=True):
        results = {**changed[name].results, variant: replace(result, p_adjusted=value)}
        changed[name] = replace(changed[name], results=results)
    return changed


def check_guardrails(
    experiment: Experiment,
    comparisons: Mapping[str, MetricComparison],
    metrics: Mapping[str, Metric],
) -> tuple[GuardrailResult, ...]:
    """Return what is known of the harm to each guardrail by each variant."""
    planned = max(2, round((experiment.planned_units or PLANNED_UNITS) / 10))
    n_tests = len(experiment.guardrails) * (len(experiment.variants) - 1)
    results = []
    for rail in experiment.guardrails:
        moments = comparisons[rail.metric].moments
        rule = GuardrailRule(
            harmful="decrease" if metrics[rail.metric].better == "higher" else "increase",
            planned_units=planned,
            margin=rail.margin,
            level=SIGNIFICANCE / max(1, n_tests),
        )
        control = moments.get(experiment.control, NO_VALUES)
        for variant in experiment.variants:
            if variant.name == experiment.control:
                continue
            evidence = evaluate_guardrail(moments.get(variant.name, NO_VALUES), control, rule)
            results.append(GuardrailResult(rail.metric, variant.name, rail.margin, evidence))
    return tuple(results)


def compare_margins(
    experiment: Experiment, comparisons: Mapping[str, MetricComparison]
) -> tuple[NonInferiorityResult, ...]:
    """Return the tests of the stated margin by variant; none where none is stated."""
    hypothesis = experiment.non_inferiority
    if hypothesis is None:
        return ()
    moments = comparisons[hypothesis.metric].moments
    control = moments.get(experiment.control, NO_VALUES)
    results = []
    for variant in experiment.variants:
        if variant.name == experiment.control:
            continue
        test = compare_with_margin(moments.get(variant.name, NO_VALUES), control, hypothesis.margin)
        level = SIGNIFICANCE / (len(experiment.variants) - 1)
        shown = None if test is None else test.p_value < level
        results.append(NonInferiorityResult(variant.name, test, shown))
    return tuple(results)
