"""R² of a saved price response by series, on held-out price changes: what the gate pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pricing.response.elasticity import ElasticityModel
from models.pricing.response.fit import ElasticityConfig
from models.pricing.response.panel import PricePanel
from training.non_inferiority import UnitValues
from training.pricing.evaluate import PRIMARY, collect_held_out_changes


@dataclass(frozen=True)
class ChangeWindow:
    """The evaluated series, and the first of the weeks whose price changes are predicted."""

    panel: PricePanel
    first_week: int
    config: ElasticityConfig

    def measure(self, model: ElasticityModel) -> dict[str, UnitValues]:
        """Return what is explained of each price change, as a share of the variation."""
        changes = collect_held_out_changes(model, self.panel, self.first_week, self.config)
        variation = (changes.units - changes.units.mean()) ** 2
        predicted = np.nan_to_num(changes.by_all)  # an item that the model does not know: no change
        explained = variation - (changes.units - predicted) ** 2
        ids = changes.series
        return {"r2": UnitValues(PRIMARY, "items", ids, explained, variation, "higher")}
