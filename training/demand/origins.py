"""Origins at which demand is evaluated, and the earlier origins that calibrate a model.

An origin is a number of known weeks: the forecasts made at it begin with the week after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from features.contracts.errors import TooLittleData
from models.demand.panel import rolling_origins
from training.demand.config import DemandConfig

MIN_WEEKS = 3  # one to forecast from, one to calibrate with, and one to compare with
# Weeks before the first evaluated origin: those of one earlier fit, and those it is compared with.
# A shorter history is evaluated at one origin, wherever it lies.
MIN_ORIGIN = 9
_MIN_FIT = 5  # weeks that the only calibrating fit knows, where there are twice as many
_MIN_FURTHER_FIT = 9  # weeks that any further one must know
# Earlier origins that calibrate a model. Forecasts of few series prove little, so a small shop,
# whose fits take a second, is compared at more of them.
MOST_OF_LARGE, MOST_OF_SMALL = 3, 8


def shorten_protocol(config: DemandConfig, n_known: int) -> DemandConfig:
    """Return the configuration with a protocol that `n_known` weeks leave room for.

    With few weeks it is one origin with at most a third of the weeks after it. Raises BadInput with
    less than three weeks.

    >>> short = shorten_protocol(DemandConfig(), 8)
    >>> short.n_origins, short.horizon, evaluation_origins(8, short)
    (1, 2, [5])
    """
    if _lay_origins(n_known, config, MIN_ORIGIN):
        return config
    if n_known < MIN_WEEKS:
        raise TooLittleData(
            f"{n_known} whole weeks of sales are too few to forecast; {MIN_WEEKS} are needed",
            hint="Import more history, or train again when more weeks are over",
        )
    skip_last = config.skip_last_weeks if n_known > MIN_WEEKS + config.skip_last_weeks else 0
    horizon = min(config.horizon, max(1, (n_known - skip_last) // 3))
    return replace(config, n_origins=1, horizon=horizon, skip_last_weeks=skip_last)


def evaluation_origins(n_known: int, config: DemandConfig) -> Sequence[int]:
    """Return the origins at which `n_known` weeks are evaluated, oldest first; none if too few."""
    return _lay_origins(n_known, config, MIN_ORIGIN) or _lay_origins(n_known, config, 1)[-1:]


def _lay_origins(n_known: int, config: DemandConfig, earliest: int) -> Sequence[int]:
    return rolling_origins(
        n_known,
        horizon=config.horizon,
        step=config.step_weeks,
        count=config.n_origins,
        skip_last=config.skip_last_weeks,
        earliest=earliest,
    )


def calibration_origins(
    origin: int, n_known: int, config: DemandConfig, most: int = MOST_OF_LARGE
) -> list[int]:
    """Return up to `most` earlier origins whose errors calibrate the model fitted at `origin`.

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
    """Return up to `most` origins before `first`, a horizon and then further steps earlier."""
    origins = [max(first - config.horizon, min(_MIN_FIT, first // 2))]
    while len(origins) < most and origins[-1] - config.step_weeks >= _MIN_FURTHER_FIT:
        origins.append(origins[-1] - config.step_weeks)
    return origins
