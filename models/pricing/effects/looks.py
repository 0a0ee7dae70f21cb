"""When a batch of price changes sells less than its forecast: a look every week, one error rate.

Who looks every week at 5 % raises a false alarm more often than in 5 % of batches. The error is
spent over the looks instead, little of it early (Lan and DeMets, Discrete sequential boundaries for
clinical trials, 1983, in the form of O'Brien and Fleming). Forecast errors last for weeks, so looks
agree more than the theory assumes: the true rate is lower.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from models.pricing.effects.pooling import PooledChanges

FIRST_LOOK, LAST_LOOK = 2, 4  # weeks after the change
FALSE_ALARMS = 0.05  # share of the batches that sell as predicted


@cache
def find_limits(
    first: int = FIRST_LOOK, last: int = LAST_LOOK, alpha: float = FALSE_ALARMS
) -> tuple[float, ...]:
    """Return the limit of the score (below 0) of each weekly look from `first` to `last`.

    >>> [round(limit, 2) for limit in find_limits()]
    [-2.54, -2.02, -1.72]
    """
    from scipy import optimize, stats  # a server starts without them

    weeks = np.arange(first, last + 1) / last
    spent = 2 * (1 - stats.norm.cdf(stats.norm.isf(alpha / 2) / np.sqrt(weeks)))
    correlation = np.sqrt(np.minimum.outer(weeks, weeks) / np.maximum.outer(weeks, weeks))
    limits: list[float] = []
    for look, share in enumerate(spent):
        covariance = correlation[: look + 1, : look + 1]

        def exceed(limit: float, covariance: object = covariance, share: float = share) -> float:
            inside = stats.multivariate_normal.cdf(
                -np.array([*limits, limit]), cov=covariance, allow_singular=True
            )
            return float(1 - inside - share)

        limits.append(optimize.brentq(exceed, -6.0, 0.0, xtol=1e-4))
    return tuple(limits)


def is_below_forecast(pooled: PooledChanges, weeks: int) -> bool:
    """Return whether a batch sells less than predicted and earns less than its old prices would.

    weeks   full weeks since the change; before the first look, and after the last one, no alarm
    """
    if not FIRST_LOOK <= weeks <= LAST_LOOK:
        return False
    limit = find_limits()[weeks - FIRST_LOOK]
    return pooled.score < limit and pooled.effect.profit.p50 < 0 and math.isfinite(pooled.score)
