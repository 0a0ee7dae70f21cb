"""Metrics of experiments: what is measured of a unit, by YAML files in configs/metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from configs import loading
from configs.settings import Settings
from experiments.definition import Experiment
from features.contracts.errors import BadInput, UnknownName
from features.contracts.event_types import EventType

FOLDER = "metrics"
SLATES = "slates"
"""The source of measures that count answers and not events."""

Aggregation = Literal["any", "count", "sum", "distinct", "repeats"]
Kind = Literal["mean", "ratio", "quantile", "coverage"]
Quantity = Literal["share", "money", "number", "milliseconds"]

_EVENT_VALUES = ("quantity", "amount", "margin", "duration_seconds")
_EVENT_IDS = ("order_id", "item_id", "recommendation_id", "session_id")
_EVENT_FILTERS = ("placement", "zone", "device", "channel", "campaign", "item_id")
_SLATE_VALUES = ("latency_ms", "degraded", "fallback", "n_items")
_SLATE_FILTERS = ("placement", "zone")


@dataclass(frozen=True)
class Measure:
    """A number of each unit.

    source        types of events, or "slates": the answers that the unit got
    aggregation   any: 1 where there is one, else 0; count; sum of `column`; distinct values of
                  `column`; repeats: 1 where `column` has two values or more
    column        of events: quantity, amount (money without tax rules, as the shop sent it),
                  margin (amount less the unit cost of the catalogue), duration_seconds; to
                  distinguish: order_id, item_id, recommendation_id, session_id. Of slates:
                  latency_ms, degraded and fallback (1 or 0), n_items
    subtract      types of events whose values are subtracted, such as refunds
    where         values that a column must have: placement, zone, device, channel, campaign
    attributed    whether only events count that name an answer of this experiment by its
                  recommendation_id
    """

    source: tuple[str, ...]
    aggregation: Aggregation
    column: str | None = None
    subtract: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributed: bool = False

    def __post_init__(self) -> None:
        if not self.source:
            raise BadInput("a measure needs a source", where="source", hint="Write [purchase]")
        if self.of_slates and len(self.source) > 1:
            raise BadInput("a measure counts slates or events, not both", where="source")
        types = [event_type.value for event_type in EventType]
        for name in (*self.source, *self.subtract):
            if name not in types and name != SLATES:
                raise UnknownName(name, [*types, SLATES], kind="source of a measure")
        needs_column = self.aggregation in ("sum", "distinct", "repeats")
        if needs_column != (self.column is not None):
            need = "needs" if needs_column else "takes no"
            raise BadInput(f"the aggregation {self.aggregation} {need} column", where="column")
        if self.column is not None and self.column not in self._columns():
            raise UnknownName(self.column, self._columns(), kind="column of a measure")
        filters = _SLATE_FILTERS if self.of_slates else _EVENT_FILTERS
        for name in self.where:
            if name not in filters:
                raise UnknownName(name, filters, kind="column to filter by")
        if self.subtract and (self.of_slates or self.aggregation not in ("sum", "count")):
            raise BadInput("only sums and counts of events are subtracted from", where="subtract")
        if self.attributed and self.of_slates:
            raise BadInput("slates are the experiment's own anyway", where="attributed")
        if self.of_slates and self.aggregation in ("any", "repeats"):
            raise BadInput("slates are counted or summed", where="aggregation")

    def _columns(self) -> tuple[str, ...]:
        if self.aggregation == "sum":
            return _SLATE_VALUES if self.of_slates else _EVENT_VALUES
        return ("item_id", "placement") if self.of_slates else _EVENT_IDS

    @property
    def of_slates(self) -> bool:
        """Whether answers are counted, and not events."""
        return SLATES in self.source


@dataclass(frozen=True)
class Metric:
    """A metric.

    kind          mean: of `measure` over units. ratio: sum of `measure` over sum of `per`.
                  quantile: of `measure.column` over all answers. coverage: share of the
                  catalogue's items that anybody was shown
    per           the measure of the denominator of a ratio
    quantile      in (0, 1)
    window_days   events count for so many days after the unit's first exposure; None: to the end
    cap_quantile  values of units above this quantile of all units count as that value
    better        whether a larger value is better
    """

    description: str
    measure: Measure
    quantity: Quantity = "number"
    kind: Kind = "mean"
    per: Measure | None = None
    quantile: float | None = None
    window_days: float | None = None
    cap_quantile: float | None = None
    better: Literal["higher", "lower"] = "higher"

    def __post_init__(self) -> None:
        if (self.kind == "ratio") != (self.per is not None):
            raise BadInput("a ratio, and nothing else, has `per`", where="per")
        if (self.kind == "quantile") != (self.quantile is not None):
            raise BadInput("the kind quantile, and nothing else, has `quantile`", where="quantile")
        for name in ("quantile", "cap_quantile"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise BadInput(f"{name} is {value:g}, not in (0, 1)", where=name)
        if self.kind in ("quantile", "coverage") and not self.measure.of_slates:
            raise BadInput(f"the kind {self.kind} reads slates", where="measure.source")
        if self.window_days is not None and self.window_days <= 0:
            raise BadInput("window_days is a number above 0", where="window_days")
        for measure in (self.measure, self.per):
            if measure is None or not measure.of_slates:
                continue
            if measure.aggregation == "distinct" and self.kind != "coverage":
                raise BadInput("distinct of slates is of the kind coverage", where="kind")
            if self.window_days is not None:
                raise BadInput("slates have no window", where="window_days")


def load_metrics(settings: Settings) -> dict[str, Metric]:
    """Return the metrics by name: the shipped files, changed by those of settings.config_dir."""
    overlay = settings.config_dir
    return {
        name: loading.load(f"{FOLDER}/{name}", Metric, overlay=overlay)
        for name in loading.list_configs(FOLDER, overlay=overlay)
    }


def check_metrics(experiment: Experiment, metrics: Mapping[str, Metric]) -> None:
    """Raise UnknownName for a metric that does not exist, BadInput for one that cannot decide."""
    where = f"experiment {experiment.key!r}"
    for name in experiment.metrics:
        if name not in metrics:
            raise UnknownName(name, metrics, kind="metric", where=where)
    hypothesis = experiment.non_inferiority
    if hypothesis is not None and metrics[hypothesis.metric].kind not in ("mean", "ratio"):
        raise BadInput(f"no margin can be tested on {hypothesis.metric}", where=where)
    for name in (experiment.primary_metric, *(rail.metric for rail in experiment.guardrails)):
        if metrics[name].kind == "coverage":
            raise BadInput(
                f"{name} has one value for each variant and no error: it decides nothing",
                where=where,
                hint="Name it among secondary_metrics",
            )
        if metrics[name].kind == "quantile" and (
            name != experiment.primary_metric or experiment.analysis != "fixed"
        ):
            raise BadInput(
                f"the quantile {name} cannot be watched while the experiment runs",
                where=where,
                hint="Take a mean such as answer_time",
            )


def needs_answers(experiment: Experiment, metrics: Mapping[str, Metric]) -> bool:
    """Return whether the results of an experiment need the logged answers beside the events."""
    measures = [
        measure
        for name in experiment.metrics
        for measure in (metrics[name].measure, metrics[name].per)
        if measure is not None
    ]
    return (
        experiment.allocation == "interleave"
        or "zone" in experiment.segments
        or any(measure.of_slates or measure.attributed for measure in measures)
    )


def needs_items(experiment: Experiment, metrics: Mapping[str, Metric]) -> bool:
    """Return whether the results need the items of the answers, and not only how many."""
    has_coverage = any(metrics[name].kind == "coverage" for name in experiment.metrics)
    return experiment.allocation == "interleave" or has_coverage
