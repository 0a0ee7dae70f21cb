"""The plan of an experiment: how many units it needs, and how many days at the present traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from experiments.definition import CHAINS, EVERY_PLACEMENT, Experiment
from experiments.metrics import Metric
from features.contracts.errors import BadInput
from features.database import reading
from features.facts.slates import ANSWERS, read_slates

if TYPE_CHECKING:
    import pyarrow as pa

    from experiments.analysis.unit_outcomes import UnitOutcomes

WINDOW_DAYS = 28
_DEFAULT_EFFECT = 0.05
_KINDS = {"share": "proportion", "money": "amount", "number": "amount", "milliseconds": "amount"}


@dataclass(frozen=True)
class PowerPlan:
    """What an experiment can see.

    baseline        mean of the primary metric over WINDOW_DAYS
    explained_share of its variance by what units did before
    minimum_effect  the relative change that the plan is for
    units           of all variants together, at a power of 80 %
    units_per_day   new units that take part; days is None where none come
    detectable      by the number of days, the relative change that is found with that power
    """

    metric: str
    baseline: float
    explained_share: float
    minimum_effect: float
    units: int
    units_per_day: float
    days: int | None
    detectable: dict[int, float | None]


@dataclass(frozen=True)
class PlanContext:
    """What a plan is made from; `placements` are the names of all of the shop."""

    settings: Settings
    engine: sa.Engine
    now: datetime
    metrics: Mapping[str, Metric]
    placements: Sequence[str]


def plan_experiment(experiment: Experiment, context: PlanContext) -> PowerPlan:
    """Return the plan of an experiment from the events of the last WINDOW_DAYS.

    Every unit that did something in these days counts as exposed when it did so first; where slates
    of the placement were logged, only units that saw one. Raises
    BadInput where the days have no units, or where the metric is nobody's yet.
    """
    from experiments.analysis.estimates import compute_explained_share, estimate_metric
    from experiments.analysis.power import Design, Outcome, find_detectable_change, plan_size

    outcomes, units_per_day = _read_past(experiment, context)
    name = experiment.primary_metric
    metric = context.metrics[name]
    if metric.kind == "quantile":
        raise BadInput(f"no plan for the quantile {name}", hint="Plan for a mean")
    sums = outcomes.sum_variants(name, with_prior=True)
    explained = compute_explained_share(list(sums.values()))
    raw = estimate_metric(outcomes.sum_variants(name, with_prior=False))["past"]
    if not raw.mean or not raw.variance:
        raise BadInput(
            f"{name} is the same for every unit of the last {WINDOW_DAYS} days",
            where=f"experiment {experiment.key!r}",
            hint="Plan for another metric, or when there are events",
        )
    kind = "count" if metric.kind == "ratio" else _KINDS[metric.quantity]
    outcome = Outcome(raw.mean, raw.variance, kind, min(explained, 0.99))  # type: ignore[arg-type]
    weights = {variant.name: variant.weight for variant in experiment.variants}
    others = [weight for variant, weight in weights.items() if variant != experiment.control]
    design = Design(
        weights=(weights[experiment.control], *others),
        analysis=experiment.analysis,
        n_looks=experiment.looks,
    )
    effect = experiment.minimum_effect or _DEFAULT_EFFECT
    sign = 1.0 if metric.better == "higher" else -1.0
    size = plan_size(outcome, design, sign * effect)
    daily = units_per_day * _find_share(experiment)
    detectable = {
        days: find_detectable_change(outcome, design, max(2, round(daily * days)))
        for days in (7, 14, 28)
    }
    return PowerPlan(
        metric=name,
        baseline=raw.mean,
        explained_share=explained,
        minimum_effect=effect,
        units=size.total,
        units_per_day=daily,
        days=size.count_days(daily) if daily > 0 else None,
        detectable=detectable,
    )


def _find_share(experiment: Experiment) -> float:
    """Return the share of all units that takes part in the end."""
    coverage = experiment.ramp[-1].coverage if experiment.ramp else experiment.coverage
    layer = experiment.layer
    return coverage * (1.0 if layer is None else layer.end - layer.start)


def _read_past(experiment: Experiment, context: PlanContext) -> tuple[UnitOutcomes, float]:
    """Return the outcomes of the units of the last days, and how many new ones come a day."""
    import ibis
    import numpy as np
    import pyarrow as pa

    from experiments.analysis.unit_outcomes import OutcomeInputs, read_outcomes
    from features.facts.facts import Facts

    now = context.now
    begin = now - timedelta(days=WINDOW_DAYS)
    facts = Facts(context.settings)
    events = facts.read("events")
    unit = ibis.coalesce(*(events[column] for column in CHAINS[experiment.unit]))
    recent = events.filter(events.occurred_at >= ibis.literal(begin), events.occurred_at < now)
    units = (
        recent.select(unit_id=unit, at=recent.occurred_at)
        .filter(lambda rows: rows.unit_id.notnull())
        .group_by("unit_id")
        .aggregate(exposed_at=lambda rows: rows["at"].min())
        .mutate(variant=ibis.literal("past"))
    )
    answers = _read_answers(experiment, context, begin)
    if answers.num_rows:  # of those who see the placement, where that is known
        visitors = ibis.memtable(pa.table({"unit_id": answers["unit_id"]})).distinct()
        units = units.semi_join(visitors, "unit_id")
    inputs = OutcomeInputs(
        events=events,
        unit_columns=CHAINS[experiment.unit],
        until=now,
        answers=answers,
        costs=facts.read("items"),
    )
    metric = context.metrics[experiment.primary_metric]
    outcomes = read_outcomes(units, {experiment.primary_metric: metric}, inputs)
    if not len(outcomes.unit_id):
        raise BadInput(
            f"nobody did anything in the last {WINDOW_DAYS} days",
            where="events",
            hint="Import or send events first",
        )
    span = outcomes.exposed_at.max() - outcomes.exposed_at.min()
    days = max(1.0, float(span / np.timedelta64(1, "D")))
    return outcomes, len(outcomes.unit_id) / days


def _read_answers(experiment: Experiment, context: PlanContext, begin: datetime) -> pa.Table:
    """Return the slates that were logged at the experiment's placements since an instant."""
    import pyarrow as pa

    names: Sequence[str] = experiment.placements
    if EVERY_PLACEMENT in names:
        names = context.placements
    tables = []
    with reading(context.engine) as connection:
        for name in names:
            slates = read_slates(connection, name, after=begin)
            columns = {
                field.name: slates[field.name].cast(field.type)
                for field in ANSWERS
                if field.name in slates.column_names and field.name != "fallback"
            }
            columns["fallback"] = pa.array(
                [int(one is not None) for one in slates["fallback"].to_pylist()], pa.int64()
            )
            columns["n_items"] = pa.array(
                [len(one) for one in slates["item_id"].to_pylist()], pa.int64()
            )
            table = pa.table({name: columns[name] for name in ANSWERS.names}, ANSWERS)
            tables.append(table.filter(pa.compute.is_valid(table["unit_id"])))
    return pa.concat_tables(tables)
