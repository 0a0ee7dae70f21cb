"""The family of each item of the catalogue: sizes of one style, or packs of one product."""

from __future__ import annotations

import numpy as np

from configs.settings import Settings
from features.contracts.arrays import ObjectArray
from features.contracts.tables import ITEMS
from features.facts.stored_columns import read_stored_columns


def read_families(settings: Settings, item_ids: ObjectArray) -> ObjectArray:
    """Return the family_id of each item, "" where it has none."""
    rows = read_stored_columns(settings.home / "tables", ITEMS, ("item_id", "family_id"))
    families = dict(zip(rows["item_id"].to_pylist(), rows["family_id"].to_pylist(), strict=True))
    return np.array([families.get(item_id) or "" for item_id in item_ids], object)
