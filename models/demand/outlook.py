"""What is foretold of many items, as arrays: light, so that a server can hold it without model libraries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.demand.sums import Sums

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """Forecasts of N items: mean N × weeks, this week first; alpha N (a week's variance = mean + alpha mean²).

    dense N   items that sold in a quarter of the weeks or more: their sums over weeks have distributions of their own
    """

    mean: Doubles
    alpha: Doubles
    dense: npt.NDArray[np.bool_]
    sums: Sums
