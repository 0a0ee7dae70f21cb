"""Placements as versions: read, save, compare, restore and export them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from configs.loading import build
from features.contracts.errors import UnknownName
from models.ranking.placement import Placement
from serving.merchandising.present_placements import PresentPlacements
from serving.versioned_rules import VersionedRules


@dataclass(frozen=True)
class PlacementService(VersionedRules[PresentPlacements]):
    """The placements of one shop. A version changes one that has a file; it makes none.

    check_placement   raises UnknownName for rules that do not exist
    """

    check_placement: Callable[[str, Placement], None]

    present = PresentPlacements
    subject = "placement"
    title = "Placement"
    scope = "slates.manage"

    def check(self, name: str, values: Mapping[str, object], present: PresentPlacements) -> None:
        """Raise BadInput or UnknownName for values that no slate can be made with."""
        names = present.list_names()
        if name not in names:
            raise UnknownName(name, names, kind="placement")
        self.check_placement(name, build(values, Placement, where=f"placement {name!r}"))
