"""Experiments and variants: frozen types of configs/experiments/*.yaml, checked when made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from configs import loading
from configs.settings import Settings
from features.contracts.errors import BadInput, UnknownName

UnitKind = Literal["user", "visitor", "session"]
Metric = Literal["purchase_conversion", "revenue_per_unit"]
Status = Literal["running", "stopped"]
Policy = Literal["champion", "buy_again"]

CHAINS: dict[UnitKind, tuple[str, ...]] = {
    "user": ("user_id", "visitor_id", "session_id"),
    "visitor": ("visitor_id", "session_id"),
    "session": ("session_id",),
}
"""By kind of unit, the columns that can name it; the first known one is used."""

_FOLDER = "experiments"
_WEIGHT_TOLERANCE = 1e-6
MAX_ATTRIBUTION_DAYS = 365


@dataclass(frozen=True)
class Variant:
    """One arm: `weight` is its share of the units in the experiment, `policy` serves them.

    champion     the policy of the champion model
    buy_again    items by decayed frequency of purchase, popular items after them
    """

    name: str
    weight: float
    policy: Policy = "champion"


@dataclass(frozen=True)
class NonInferiority:
    """The hypothesis that a variant loses less than `margin` of the control's mean of `metric`."""

    margin: float
    metric: Metric = "purchase_conversion"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise BadInput(
                f"a margin is a share between 0 and 1, not {self.margin:g}",
                where="non_inferiority",
                hint="Write margin: 0.02 where a loss below 2 % is accepted",
            )


@dataclass(frozen=True)
class Experiment:
    """Units split over variants on some placements, and the one metric that decides.

    unit        kind of unit, see CHAINS: "user" means user_id, else visitor_id, else session_id
    salt        seeds the hash; another salt assigns all units anew, so it must not change while the
                experiment runs
    coverage    share of all units that take part, 0..1; raising it keeps the assignments of those
                that take part already
    attribution_days   purchases count for so many days after the stop
    stopped_at  business time of the stop; exposures after it do not count. None while it runs, and
                where a file says `stopped` without a time: then it is the last exposure
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
    status: Status = "running"
    primary_metric: Metric = "purchase_conversion"
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
        if len(self.variants) < 2:
            raise BadInput("an experiment needs two variants or more", where=where)
        names = [variant.name for variant in self.variants]
        if repeated := _find_repeated(names):
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
        if not 0 <= self.coverage <= 1:
            raise BadInput(f"coverage is {self.coverage:g}, not in [0, 1]", where=where)
        self._check_stop(where)

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
        if self.running:
            hint = "Write status: stopped"
            raise BadInput("stopped_at of a running experiment", where=where, hint=hint)

    @property
    def running(self) -> bool:
        """Whether units are assigned."""
        return self.status == "running"

    def variant(self, name: str) -> Variant:
        """Return the variant of that name; raises UnknownName."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.variants]
        raise UnknownName(name, names, kind="variant", where=self.key)


def load_experiments(settings: Settings) -> dict[str, Experiment]:
    """Return all experiments by key: the shipped files, changed by those of settings.config_dir.

    Raises BadInput when a key is not its file's name, when running experiments share a placement
    (one answer cannot follow two policies), or when two experiments share a salt (their splits
    would coincide).
    """
    experiments: dict[str, Experiment] = {}
    for name in loading.list_configs(_FOLDER, overlay=settings.config_dir):
        experiment = loading.load(f"{_FOLDER}/{name}", Experiment, overlay=settings.config_dir)
        if experiment.key != name:
            raise BadInput(
                f"key {experiment.key!r} is not the file's name", where=f"{_FOLDER}/{name}.yaml"
            )
        experiments[name] = experiment
    _refuse_shared_placements(
        [experiment for experiment in experiments.values() if experiment.running]
    )
    _refuse_shared_salts(list(experiments.values()))
    return experiments


def _refuse_shared_placements(running: Sequence[Experiment]) -> None:
    placements: list[str] = []
    for experiment in running:
        placements += set(experiment.placements)
    placement = _find_repeated(placements)
    if placement is None:
        return
    keys = ", ".join(experiment.key for experiment in running if placement in experiment.placements)
    raise BadInput(
        f"running experiments {keys} share the placement {placement!r}",
        where=_FOLDER,
        hint="Stop one of them (status: stopped)",
    )


def _refuse_shared_salts(experiments: Sequence[Experiment]) -> None:
    salt = _find_repeated(experiment.salt for experiment in experiments)
    if salt is None:
        return
    keys = ", ".join(experiment.key for experiment in experiments if experiment.salt == salt)
    raise BadInput(
        f"experiments {keys} share the salt {salt!r}", where=_FOLDER, hint="Give each its own"
    )


def _find_repeated(values: Iterable[str]) -> str | None:
    """Return the first value that occurs more than once; None where all differ."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
