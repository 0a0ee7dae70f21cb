"""Placements as a variant changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from configs.loading import build, change_values
from experiments.definition import EVERY_PLACEMENT, Experiment, Variant
from features.contracts.errors import UnknownName
from models.ranking.placement import Placement


def change_placement(placement: Placement, changes: Mapping[str, object], where: str) -> Placement:
    """Return a placement with the values of `changes` in place of its own.

    Raises BadInput for a value that does not fit, UnknownName for a key.
    """
    return build(change_values(asdict(placement), changes), Placement, where=where)


def change_placements(
    placements: Mapping[str, Placement], experiment: Experiment, variant: Variant
) -> dict[str, Placement]:
    """Return all placements, those of the experiment as the variant changes them."""
    where = f"experiment {experiment.key!r}, variant {variant.name!r}"
    return {
        name: change_placement(placement, variant.placement, where)
        if variant.placement and experiment.covers(name)
        else placement
        for name, placement in placements.items()
    }


def check_placements(experiment: Experiment, placements: Mapping[str, Placement]) -> None:
    """Raise UnknownName for a placement that the shop does not have, and BadInput or UnknownName
    for a change that does not fit one."""
    for name in experiment.placements:
        if name not in placements and name != EVERY_PLACEMENT:
            where = f"experiment {experiment.key!r}"
            raise UnknownName(name, placements, kind="placement", where=where)
    for variant in experiment.variants:
        change_placements(placements, experiment, variant)
