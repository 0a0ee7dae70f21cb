"""What is foretold of many items, as arrays: light, so that a server can hold it without model libraries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """Forecasts of N items: mean N × weeks, this week first; alpha, alpha_total N (variance = mean + alpha mean²)."""

    mean: Doubles
    alpha: Doubles
    alpha_total: Doubles
