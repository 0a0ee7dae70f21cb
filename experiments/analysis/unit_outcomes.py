"""What each unit of an experiment did: one row per unit, with the values of every metric.

A value counts what a unit did from its first exposure on, its prior what the same unit did in the
PRIOR_DAYS before. Values of events that name an answer, and of answers, have no prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from experiments.analysis.links import merge_units
from experiments.analysis.outliers import CapRule, cap_values
from experiments.analysis.sums import UnitSums
from experiments.metrics import Measure, Metric
from features.contracts.arrays import AnyArray, BoolArray
from features.facts.slates import ANSWERS
from features.pipelines.expressions import zone_of

PRIOR_DAYS = 28
SEVERAL_VARIANTS = ""
_IN_ATTRIBUTES = ("device", "channel", "campaign")


@dataclass(frozen=True)
class OutcomeInputs:
    """What outcomes are computed from.

    events          in the stored schema of `events`
    answers         the logged answers of the experiment, see features.facts.slates.ANSWERS
    costs           item_id and unit_cost_minor; items without a cost count no margin
    unit_columns    the columns of events that can name a unit, the first known one does
    until           events count before this instant
    links           the users by the visitors that they were
    other_currency  zones whose money is in another currency, and does not count
    """

    events: ir.Table
    unit_columns: Sequence[str]
    until: datetime
    answers: pa.Table = field(default_factory=ANSWERS.empty_table)
    costs: ir.Table | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    other_currency: Sequence[str] = ()


@dataclass(frozen=True)
class UnitOutcomes:
    """One row per unit.

    columns   by metric the arrays of `sums.COLUMNS` that it has, (n_units,) each
    is_new    units that did nothing in the days before their exposure
    """

    unit_id: AnyArray
    variant: AnyArray
    exposed_at: AnyArray
    is_new: BoolArray
    columns: Mapping[str, Mapping[str, AnyArray]]

    def sum_variants(
        self, metric: str, *, with_prior: bool, among: BoolArray | None = None
    ) -> dict[str, UnitSums]:
        """Return the sums of a metric by variant, with or without what units did before."""
        columns = dict(self.columns[metric])
        if not with_prior or "prior_value" not in columns:
            columns = {name: columns[name] for name in ("value", "base") if name in columns}
        else:
            columns["is_new"] = self.is_new.astype(np.int64)
        rows = np.ones(len(self.variant), bool) if among is None else among
        sums = {}
        for variant in np.unique(self.variant[rows]):
            selected = rows & (self.variant == variant)
            chosen = {name: values[selected] for name, values in columns.items()}
            sums[str(variant)] = UnitSums.from_units(chosen)
        return sums


def find_units(exposures: ir.Table, as_of: datetime, links: Mapping[str, str]) -> ir.Table:
    """Return one row per unit: unit_id, variant and exposed_at, its first exposure before `as_of`.

    The variant of a unit that met several is SEVERAL_VARIANTS.
    """
    known = exposures.filter(exposures.exposed_at < ibis.literal(as_of.astimezone(UTC)))
    return (
        merge_units(known, "unit_id", links)
        .group_by("unit_id")
        .aggregate(
            exposed_at=lambda rows: rows.exposed_at.min(),
            variant=lambda rows: ibis.ifelse(
                rows.variant.nunique() > 1, SEVERAL_VARIANTS, rows.variant.min()
            ),
        )
    )


def read_outcomes(
    units: ir.Table, metrics: Mapping[str, Metric], inputs: OutcomeInputs
) -> UnitOutcomes:
    """Return the outcomes of units as `find_units` returns them, in the order of their ids."""
    counted = {name: metric for name, metric in metrics.items() if metric.kind != "coverage"}
    of_events = _aggregate_events(units, counted, inputs)
    of_answers = _aggregate_answers(counted, inputs)
    joined = units.left_join(of_events, "unit_id")
    joined = joined.left_join(of_answers, joined.unit_id == of_answers.answered_unit)
    table = joined.order_by("unit_id").to_pyarrow()
    columns = {name: _read_columns(table, name, metric) for name, metric in counted.items()}
    is_new = table["n_before"].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False) == 0
    return UnitOutcomes(
        unit_id=np.asarray(table["unit_id"].to_pylist(), object),
        variant=np.asarray(table["variant"].to_pylist(), object),
        exposed_at=table["exposed_at"].to_numpy(),
        is_new=is_new,
        columns=columns,
    )


def _aggregate_events(
    units: ir.Table, metrics: Mapping[str, Metric], inputs: OutcomeInputs
) -> ir.Table:
    """Return the values and priors of measures of events by unit, as whole numbers or NULL."""
    events = _select_events(metrics, inputs)
    rows = units.inner_join(events, units.unit_id == events.buyer)
    earliest = rows.exposed_at - ibis.interval(days=PRIOR_DAYS)
    rows = rows.filter(rows.occurred_at >= earliest)
    aggregates: dict[str, ir.Value] = {"n_before": (rows.occurred_at < rows.exposed_at).sum()}
    for name, metric in metrics.items():
        for column, measure in _list_measures(metric):
            if measure.of_slates:
                continue
            after = rows.occurred_at >= rows.exposed_at
            if metric.window_days is not None:
                window = ibis.interval(seconds=round(metric.window_days * 86_400))
                after &= rows.occurred_at < rows.exposed_at + window
            aggregates[f"{name}__{column}"] = _aggregate(rows, measure, after)
            if not measure.attributed:
                before = rows.occurred_at < rows.exposed_at
                aggregates[f"{name}__prior_{column}"] = _aggregate(rows, measure, before)
    return rows.group_by("unit_id").aggregate(**aggregates)


def _select_events(metrics: Mapping[str, Metric], inputs: OutcomeInputs) -> ir.Table:
    """Return the events before the end, each with its unit as `buyer`."""
    events = inputs.events
    known = events.filter(events.occurred_at < ibis.literal(inputs.until.astimezone(UTC)))
    measures = [measure for metric in metrics.values() for _, measure in _list_measures(metric)]
    names = {name for measure in measures for name in measure.where}
    names |= {measure.column for measure in measures if measure.column}
    attributes = known.attributes.cast("json")
    extra = {name: attributes[name].str for name in _IN_ATTRIBUTES if name in names}
    if "duration_seconds" in names:
        extra["duration_seconds"] = attributes["duration_seconds"].str.try_cast("float64")
    foreign = zone_of(known).isin(tuple(inputs.other_currency))
    rows = known.select(
        "event_type",
        "occurred_at",
        "item_id",
        "order_id",
        "session_id",
        "recommendation_id",
        "placement",
        "quantity",
        buyer=ibis.coalesce(*(known[column] for column in inputs.unit_columns)),
        zone=zone_of(known),
        amount=ibis.ifelse(foreign, 0, known.line_amount_minor.coalesce(0)),
        **extra,
    )
    if "margin" in names and inputs.costs is not None:
        costs = inputs.costs.select(costed_item="item_id", unit_cost="unit_cost_minor")
        rows = rows.left_join(costs, rows.item_id == costs.costed_item).drop("costed_item")
        cost = (rows.quantity.coalesce(1.0) * rows.unit_cost).round().cast("int64")
        rows = rows.mutate(margin=ibis.ifelse(rows.amount == 0, 0, rows.amount - cost).coalesce(0))
    elif "margin" in names:
        rows = rows.mutate(margin=ibis.literal(0, "int64"))
    if any(measure.attributed for measure in measures):
        answers = ibis.memtable(
            pa.table({"answer_id": inputs.answers["recommendation_id"]})
        ).distinct()
        rows = rows.left_join(answers, rows.recommendation_id == answers.answer_id)
    return merge_units(rows, "buyer", inputs.links)


def _aggregate(rows: ir.Table, measure: Measure, when: ir.BooleanValue) -> ir.Value:
    """Return a measure over the rows of a unit, of those where `when` holds."""
    condition = when
    for name, values in measure.where.items():
        condition &= rows[name].isin(values)
    if measure.attributed:
        condition &= rows.answer_id.notnull()
    counted = condition & rows.event_type.isin(measure.source)
    if measure.aggregation == "any":
        return counted.any().cast("int64")
    if measure.aggregation in ("distinct", "repeats"):
        assert measure.column is not None  # noqa: S101 (checked when made)
        n_values = rows[measure.column].nunique(where=counted)
        return n_values if measure.aggregation == "distinct" else (n_values > 1).cast("int64")
    number = ibis.literal(1)
    if measure.aggregation == "sum":
        assert measure.column is not None  # noqa: S101 (checked when made)
        number = rows[measure.column].coalesce(0)
    taken = condition & rows.event_type.isin(measure.subtract)
    return ibis.ifelse(counted, number, ibis.ifelse(taken, -number, 0)).sum()


def _aggregate_answers(metrics: Mapping[str, Metric], inputs: OutcomeInputs) -> ir.Table:
    """Return the values of measures of answers by unit."""
    rows = ibis.memtable(inputs.answers.drop_columns(["item_id", "team"]))
    rows = merge_units(rows, "unit_id", inputs.links)
    aggregates: dict[str, ir.Value] = {"n_answers": rows.count()}
    for name, metric in metrics.items():
        for column, measure in _list_measures(metric):
            if not measure.of_slates or metric.kind == "quantile":
                continue
            condition = rows.recommendation_id.notnull()
            for filter_name, values in measure.where.items():
                condition &= rows[filter_name].isin(values)
            number = ibis.literal(1) if measure.aggregation == "count" else rows[measure.column]
            aggregates[f"{name}__{column}"] = ibis.ifelse(condition, number, 0).sum()
    return rows.group_by(answered_unit="unit_id").aggregate(**aggregates)


def _list_measures(metric: Metric) -> Iterable[tuple[str, Measure]]:
    yield "value", metric.measure
    if metric.per is not None:
        yield "base", metric.per


def _read_columns(table: pa.Table, name: str, metric: Metric) -> dict[str, AnyArray]:
    """Return the columns of a metric that the table has, capped by its rule; no row means 0."""
    columns: dict[str, AnyArray] = {}
    for column in ("value", "base", "prior_value", "prior_base"):
        if f"{name}__{column}" not in table.column_names:
            continue
        values = table[f"{name}__{column}"].to_pandas().fillna(0).to_numpy()
        exact = values.astype(np.float64)
        whole = exact.astype(np.int64)
        columns[column] = whole if (whole == exact).all() else exact
    if "prior_base" not in columns and metric.kind == "ratio":
        columns.pop("prior_value", None)
    if metric.cap_quantile is not None and "value" in columns:
        cap = CapRule(quantile=metric.cap_quantile).compute_cap(columns["value"])
        columns["value"] = cap_values(columns["value"], cap)
    return columns
