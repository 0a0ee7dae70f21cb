"""Origins at which demand is evaluated, and the earlier origins that calibrate a model.

An origin is a number of known weeks: the forecasts made at it begin with the week after them.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.demand.panel import rolling_origins
from training.demand.config import DemandConfig

# Weeks before the first evaluated origin: those of one earlier fit, and those it is compared with.
MIN_ORIGIN = 9
_MIN_FIT = 5  # weeks that the only calibrating fit must know
_MIN_FURTHER_FIT = 9  # weeks that any further one must know
# Earlier origins that calibrate a model. Forecasts of few series prove little, so a small shop,
# whose fits take a second, is compared at more of them.
MOST_OF_LARGE, MOST_OF_SMALL = 3, 8


def evaluation_origins(n_known: int, config: DemandConfig) -> Sequence[int]:
    """Return the origins at which `n_known` weeks are evaluated, oldest first; none if too few."""
    return rolling_origins(
        n_known,
        horizon=config.horizon,
        step=config.step_weeks,
        count=config.n_origins,
        skip_last=config.skip_last_weeks,
        earliest=MIN_ORIGIN,
    )


def calibration_origins(
    origin: int, n_known: int, config: DemandConfig, most: int = MOST_OF_LARGE
) -> list[int]:
    """Return one to `most` earlier origins whose errors calibrate the model fitted at `origin`.

    They are the newest whose first `horizon` weeks are over at `origin`, newest first, taken from
    the evaluation origins (which are fitted anyway) and from those that lead up to the first one.

    >>> calibration_origins(40, 53, DemandConfig()), calibration_origins(53, 53, DemandConfig())
    ([36, 32, 28], [48, 44, 40])
    """
    evaluated = evaluation_origins(n_known, config)
    before = _origins_before(min([origin, *evaluated[:1]]), config, most)
    over = [earlier for earlier in {*evaluated, *before} if earlier + config.horizon <= origin]
    return sorted(over, reverse=True)[:most] or before


def _origins_before(first: int, config: DemandConfig, most: int) -> list[int]:
    """Return one to `most` origins before `first`, a horizon and then further steps earlier."""
    origins = [max(first - config.horizon, _MIN_FIT)]
    while len(origins) < most and origins[-1] - config.step_weeks >= _MIN_FURTHER_FIT:
        origins.append(origins[-1] - config.step_weeks)
    return origins
