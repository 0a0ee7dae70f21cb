"""The configuration of demand training."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.demand.daily import DayConfig
from models.demand.learner import FitConfig


@dataclass(frozen=True)
class DemandConfig:
    """How demand forecasts are evaluated and how the model is fitted.

    They are evaluated at `n_origins` origins `step_weeks` apart, each on the `horizon` weeks after
    it; the last of these weeks ends `skip_last_weeks` before the data (the newest week may still
    fill up). Evaluated are series sold in `min_share_sold` of the weeks before the first origin.
    `daily` says which series are also forecast by day.
    """

    horizon: int = 4
    step_weeks: int = 4
    n_origins: int = 3
    skip_last_weeks: int = 1
    min_share_sold: float = 0.25
    daily: DayConfig = field(default_factory=DayConfig)
    fit: FitConfig = field(default_factory=FitConfig)
