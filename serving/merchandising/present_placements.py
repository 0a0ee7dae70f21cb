"""The placements of today: the newest version of each name, else its file."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from configs.loading import build
from configs.settings import Settings
from features.database import reading
from models.ranking.placement import Placement
from serving.database.desk_tables import placement_versions
from serving.versioned_rules import PresentValues


@dataclass(frozen=True)
class PresentPlacements(PresentValues):
    """The placements by name, as they were when they were read."""

    folder = "placements"
    table = placement_versions
    kind = "placement"


def read_placements(settings: Settings, engine: sa.Engine) -> dict[str, Placement]:
    """Return the placements of today by name."""
    with reading(engine) as connection:
        present = PresentPlacements.read(settings, connection)
    return {
        name: build(present.read_values(name), Placement, where=f"placement {name!r}")
        for name in present.list_names()
    }
