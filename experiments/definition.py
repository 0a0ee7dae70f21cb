"""Experiments and variants: frozen types, checked when made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from features.contracts.errors import BadInput, UnknownName

UnitKind = Literal["user", "visitor", "session"]
Status = Literal["draft", "running", "stopped", "decided"]
Policy = Literal[
    "champion",
    "ranker",
    "ease",
    "baseline",
    "buy_again",
    "association",
    "sequence",
    "session_knn",
    "sequential_rules",
    "popular",
]
Allocation = Literal["fixed", "thompson", "interleave"]
Analysis = Literal["fixed", "always_valid", "group_sequential"]
Segment = Literal["zone", "visitor"]

CHAINS: dict[UnitKind, tuple[str, ...]] = {
    "user": ("user_id", "visitor_id", "session_id"),
    "visitor": ("visitor_id", "session_id"),
    "session": ("session_id",),
}
"""By kind of unit, the columns that can name it; the first known one is used."""

CHAMPION = "champion"
EVERY_PLACEMENT = "*"
MAX_ATTRIBUTION_DAYS = 365
MAX_LOOKS = 50
_MAX_VARIANTS = 20
_WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Variant:
    """One arm, and what it changes; `weight` is its share of the units in the experiment.

    policy      ranks in place of the policy that the model's evaluation chose ("champion");
                "popular" is the same list for everybody
    model       version of the recommendation model that answers, by number or alias
    placement   values of the placement that differ, as its YAML file has them: scorer, candidates,
                rules, diversity, exploration ...

    A variant has no price: everybody pays the same at the same time. Prices are tested by item,
    family or zone, with `shopwright prices tests`.
    """

    name: str
    weight: float
    policy: Policy = "champion"
    model: str = CHAMPION
    placement: Mapping[str, object] = field(default_factory=dict)

    @property
    def uses_served_models(self) -> bool:
        """Whether the model and the placements that serve anyway answer."""
        return self.model == CHAMPION and not self.placement


@dataclass(frozen=True)
class Layer:
    """The part [start, end) of a layer's units. Experiments in disjoint parts never share a unit.

    name   seeds the hash that says where in the layer a unit lies
    """

    name: str
    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= 1:
            raise BadInput(
                f"a layer's part runs from {self.start:g} to {self.end:g}, not inside 0..1",
                where="layer",
                hint="Write {name: home, start: 0, end: 0.5}",
            )

    def overlaps(self, other: Layer) -> bool:
        """Return whether a unit can be in both parts."""
        is_apart = self.end <= other.start or other.end <= self.start
        return self.name != other.name or not is_apart


@dataclass(frozen=True)
class Targeting:
    """Who takes part; what is empty or "any" admits everybody.

    zones        of the request
    visitors     "known": somebody who bought something before; "new": nobody of whom that is known
    attributes   values of attributes of the request, of which each must have one of these
    """

    zones: tuple[str, ...] = ()
    visitors: Literal["any", "new", "known"] = "any"
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def admits(self, zone: str, is_known: bool, attributes: Mapping[str, str]) -> bool:
        """Return whether a request belongs to the target."""
        if self.zones and zone not in self.zones:
            return False
        if self.visitors != "any" and is_known != (self.visitors == "known"):
            return False
        return all(attributes.get(name) in values for name, values in self.attributes.items())


@dataclass(frozen=True)
class RampStep:
    """From `at` on (business time) the share `coverage` of all units takes part."""

    at: datetime
    coverage: float


@dataclass(frozen=True)
class Guardrail:
    """A metric that a variant must not harm by more than `margin` of the control's mean."""

    metric: str
    margin: float

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise BadInput(
                f"a margin is a share between 0 and 1, not {self.margin:g}", where="guardrails"
            )


@dataclass(frozen=True)
class NonInferiority:
    """The hypothesis that a variant loses less than `margin` of the control's mean of `metric`."""

    margin: float
    metric: str = "purchase_conversion"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise BadInput(
                f"a margin is a share between 0 and 1, not {self.margin:g}",
                where="non_inferiority",
                hint="Write margin: 0.02 where a loss below 2 % is accepted",
            )


@dataclass(frozen=True)
class Experiment:
    """Units split over variants on some placements, and the metrics that decide.

    unit          kind of unit, see CHAINS: "user" means user_id, else visitor_id, else session_id
    salt          seeds the hash; another salt assigns all units anew, so it must not change while
                  the experiment runs
    coverage      share of all units that take part, 0..1; raising it keeps the assignments of those
                  that take part already
    ramp          later values of coverage, which only rise
    layer         part of a layer; None: all units
    holdout       whether the variants are "all recommendations" and "none of them": a holdout of
                  every placement comes first, then that of a placement, then other experiments;
                  whom one holds out takes part in none after it
    allocation    fixed weights, weights that follow the results (Thompson sampling; they begin as
                  written), or interleaving: each slate mixes both variants
    floor         the share that each variant keeps where weights follow the results
    primary_metric, secondary_metrics, guardrails   names of metrics, see experiments.metrics
    segments      by which the results are cut; named before the start
    minimum_effect   the smallest relative change of the primary metric that matters
    planned_units    units at which the experiment has its power; None: not planned
    analysis      how the primary metric may be looked at: once, always, or at `looks` looks
    attribution_days   events count for so many days after the stop
    stopped_at    business time of the stop; exposures after it do not count. None while it runs,
                  and where a file says `stopped` without a time: then it is the last exposure
    non_inferiority    states that a variant is not worse than the control; None: that it is better

    Raises BadInput when the values do not fit together, UnknownName when the control is no variant.
    """

    key: str
    placements: tuple[str, ...]
    variants: tuple[Variant, ...]
    control: str
    salt: str
    hypothesis: str
    unit: UnitKind = "user"
    coverage: float = 1.0
    ramp: tuple[RampStep, ...] = ()
    layer: Layer | None = None
    targeting: Targeting = field(default_factory=Targeting)
    holdout: bool = False
    allocation: Allocation = "fixed"
    floor: float = 0.05
    status: Status = "running"
    primary_metric: str = "purchase_conversion"
    secondary_metrics: tuple[str, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    segments: tuple[Segment, ...] = ()
    minimum_effect: float | None = None
    planned_units: int | None = None
    analysis: Analysis = "fixed"
    looks: int = 5
    attribution_days: float = 7.0
    stopped_at: datetime | None = None
    non_inferiority: NonInferiority | None = None

    def __post_init__(self) -> None:
        where = f"experiment {self.key!r}"
        if not self.key or not self.salt:
            raise BadInput("an experiment needs a key and a salt", where=where)
        if not self.placements:
            raise BadInput(
                "an experiment needs a placement", where=where, hint="Write placements: [home]"
            )
        self._check_variants(where)
        self._check_coverage(where)
        self._check_plan(where)
        self._check_stop(where)

    def _check_variants(self, where: str) -> None:
        if not 2 <= len(self.variants) <= _MAX_VARIANTS:
            raise BadInput(
                f"an experiment needs two variants or more, at most {_MAX_VARIANTS}", where=where
            )
        names = [variant.name for variant in self.variants]
        if repeated := find_repeated(names):
            raise BadInput(f"two variants are named {repeated!r}", where=where)
        if not all(names):
            raise BadInput("a variant has no name", where=where)
        for variant in self.variants:
            if not 0 < variant.weight < 1:
                raise BadInput(
                    f"variant {variant.name!r} has weight {variant.weight:g}, not in (0, 1)",
                    where=where,
                )
        total = math.fsum(variant.weight for variant in self.variants)
        if abs(total - 1) > _WEIGHT_TOLERANCE:
            hint = "For fewer units in all, lower coverage"
            raise BadInput(f"weights sum to {total:g}, not 1", where=where, hint=hint)
        if self.control not in names:
            raise UnknownName(self.control, names, kind="control variant", where=where)
        if (self.holdout or self.allocation == "interleave") and len(self.variants) != 2:
            kind = "a holdout" if self.holdout else "interleaving"
            raise BadInput(f"{kind} has two variants, not {len(self.variants)}", where=where)
        if self.holdout and self.allocation != "fixed":
            raise BadInput("a holdout has fixed weights", where=where)
        if self.allocation == "thompson":
            self._check_bandit(where)

    def _check_bandit(self, where: str) -> None:
        if self.unit != "session":
            raise BadInput(
                "weights that follow the results move units between variants",
                where=where,
                hint="Write unit: session, so that each session is assigned anew",
            )
        if not 0 < self.floor * len(self.variants) <= 1:
            raise BadInput(
                f"a floor of {self.floor:g} for {len(self.variants)} variants is no share",
                where=where,
            )

    def _check_coverage(self, where: str) -> None:
        coverage, before = self.coverage, None
        for step in (None, *self.ramp):
            if step is not None:
                if step.at.tzinfo is None:
                    hint = "Write 2024-05-06T00:00:00Z"
                    raise BadInput("a step of the ramp has no time zone", where=where, hint=hint)
                if step.coverage < coverage or (before is not None and step.at <= before):
                    raise BadInput(
                        "a ramp only rises, in order of time", where=where, hint="Sort its steps"
                    )
                coverage, before = step.coverage, step.at
            if not 0 <= coverage <= 1:
                raise BadInput(f"coverage is {coverage:g}, not in [0, 1]", where=where)

    def _check_plan(self, where: str) -> None:
        if self.minimum_effect is not None and not 0 < self.minimum_effect < 1:
            raise BadInput(
                f"minimum_effect is {self.minimum_effect:g}, not a share between 0 and 1",
                where=where,
                hint="Write 0.03 for 3 % of the control's mean",
            )
        if self.planned_units is not None and self.planned_units < 1:
            raise BadInput("planned_units is a number above 0", where=where)
        if self.analysis == "group_sequential" and self.planned_units is None:
            raise BadInput(
                "looks that are planned need planned_units",
                where=where,
                hint="shopwright experiments power prints how many",
            )
        if not 1 <= self.looks <= MAX_LOOKS:
            raise BadInput(f"looks is {self.looks}, not in 1..{MAX_LOOKS}", where=where)
        metrics = [self.primary_metric, *self.secondary_metrics]
        if repeated := find_repeated(metrics):
            raise BadInput(f"the metric {repeated!r} is named twice", where=where)

    def _check_stop(self, where: str) -> None:
        if not 0 <= self.attribution_days <= MAX_ATTRIBUTION_DAYS:
            raise BadInput(
                f"attribution_days is {self.attribution_days:g}, "
                f"not in [0, {MAX_ATTRIBUTION_DAYS}]",
                where=where,
            )
        if self.stopped_at is None:
            return
        if self.stopped_at.tzinfo is None:
            hint = "Write 2024-05-06T00:00:00Z"
            raise BadInput("stopped_at has no time zone", where=where, hint=hint)
        if self.status in ("draft", "running"):
            hint = "Write status: stopped"
            raise BadInput(f"stopped_at of a {self.status} experiment", where=where, hint=hint)

    @property
    def running(self) -> bool:
        """Whether units are assigned."""
        return self.status == "running"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, the primary one first."""
        names = [self.primary_metric, *self.secondary_metrics]
        names += [guardrail.metric for guardrail in self.guardrails]
        if self.non_inferiority is not None:
            names.append(self.non_inferiority.metric)
        return tuple(dict.fromkeys(names))

    @property
    def rank(self) -> int:
        """The place in the order in which experiments take units, see `holdout`; from 0."""
        if not self.holdout:
            return 2
        return 0 if EVERY_PLACEMENT in self.placements else 1

    def coverage_at(self, now: datetime | None) -> float:
        """Return the share of all units that takes part; without an instant, at the start."""
        coverage = self.coverage
        for step in self.ramp:
            if now is not None and step.at <= now:
                coverage = step.coverage
        return coverage

    def covers(self, placement: str) -> bool:
        """Return whether the experiment has a say at a placement."""
        return placement in self.placements or EVERY_PLACEMENT in self.placements

    def variant(self, name: str) -> Variant:
        """Return the variant of that name; raises UnknownName."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.variants]
        raise UnknownName(name, names, kind="variant", where=self.key)


def find_repeated(values: Iterable[str]) -> str | None:
    """Return the first value that occurs more than once; None where all differ."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
