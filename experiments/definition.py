"""What an experiment is: the frozen type of configs/experiments/*.yaml, checked when it is made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from configs.loading import load, names
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
"""The columns that name a unit of each kind: the first one that is known does."""

_FOLDER = "experiments"
_WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Variant:
    """One arm: `weight` is its share of the units in the experiment, `policy` what answers them.

    champion     what the champion model serves by
    buy_again    decayed frequency of what was bought, popular items behind it
    """

    name: str
    weight: float
    policy: Policy = "champion"


@dataclass(frozen=True)
class Experiment:
    """Units split over variants on some placements, and the one metric that decides.

    unit        where the chain of CHAINS begins: "user" means user_id, else visitor_id, else
                session_id
    salt        seeds the hash; another salt shuffles the units anew, so it stays for as long as the
                experiment runs
    coverage    share of all units that take part, 0..1; raise it to ramp up, nobody who is in moves

    Raises BadInput when the parts do not fit, UnknownName when the control is no variant.
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
        arms = [variant.name for variant in self.variants]
        if twice := _repeated(arms):
            raise BadInput(f"two variants are named {twice!r}", where=where)
        if not all(arms):
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
        if self.control not in arms:
            raise UnknownName(self.control, arms, kind="control variant", where=where)
        if not 0 <= self.coverage <= 1:
            raise BadInput(f"coverage is {self.coverage:g}, not in [0, 1]", where=where)

    @property
    def running(self) -> bool:
        return self.status == "running"

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises UnknownName."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise UnknownName(
            name, [each.name for each in self.variants], kind="variant", where=self.key
        )


def load_experiments(settings: Settings) -> dict[str, Experiment]:
    """All experiments, by key: the shipped files with the differences in settings.config_dir laid
    over them.

    Raises BadInput when a key is not its file's name, when running experiments share a placement
    (one answer cannot follow two policies), or when two experiments share a salt (their splits
    would coincide).
    """
    found: dict[str, Experiment] = {}
    for name in names(_FOLDER, overlay=settings.config_dir):
        experiment = load(f"{_FOLDER}/{name}", Experiment, overlay=settings.config_dir)
        if experiment.key != name:
            raise BadInput(
                f"key {experiment.key!r} is not the file's name", where=f"{_FOLDER}/{name}.yaml"
            )
        found[name] = experiment
    running = [experiment for experiment in found.values() if experiment.running]
    if placement := _repeated(
        place for experiment in running for place in set(experiment.placements)
    ):
        keys = ", ".join(each.key for each in running if placement in each.placements)
        hint = "Stop one of them (status: stopped)"
        raise BadInput(
            f"running experiments {keys} share the placement {placement!r}",
            where=_FOLDER,
            hint=hint,
        )
    if salt := _repeated(experiment.salt for experiment in found.values()):
        keys = ", ".join(each.key for each in found.values() if each.salt == salt)
        raise BadInput(
            f"experiments {keys} share the salt {salt!r}", where=_FOLDER, hint="Give each its own"
        )
    return found


def _repeated(values: Iterable[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
