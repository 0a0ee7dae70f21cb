"""Errors of a saved demand model by series, on one test window: what the gate pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.demand.model import DemandModel
from models.demand.panel import DemandPanel
from training.non_inferiority import UnitValues


@dataclass(frozen=True)
class SeriesWindow:
    """What was known at an origin, and what sold after it.

    panel    known weeks, with the plans of the weeks after them
    series   S, the rows of the panel that are evaluated
    actual   S × horizon units
    counted  S × horizon, 1 for the weeks that count
    """

    panel: DemandPanel
    series: Int64Array
    actual: Float64Array
    counted: Float64Array

    def measure(self, model: DemandModel) -> dict[str, UnitValues]:
        """Return the absolute errors and the deviations of each series over the window.

        The model forecasts from the panel, so that an older one does not lose because its stored
        forecasts were made with fewer weeks.
        """
        by_method = model.predict_methods(self.panel, self.actual.shape[1])
        means = model.blend_means(self.panel, by_method)[self.series] * self.counted
        deviations = means - self.actual
        ids, units = self.series, self.actual.sum(axis=1)
        errors = np.abs(deviations).sum(axis=1)
        return {
            "wmape": UnitValues("WMAPE", "series", ids, errors, units, "lower"),
            "bias": UnitValues("bias", "series", ids, deviations.sum(axis=1), units, "nearer"),
        }
