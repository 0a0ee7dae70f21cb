"""The features of one user from their order lines, the twin of features/pipelines/user.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array, Int64Array
from features.contracts.calendar import DECAY_PER_WEEK, SECONDS_PER_WEEK
from features.pipelines.feature_constants import REDUCED_SHARE, SECONDS_PER_DAY


def decay(at: Int64Array, as_of: datetime) -> Float64Array:
    """Return DECAY_PER_WEEK ** (age in weeks), never above 1."""
    age = np.maximum(int(as_of.timestamp()) - at, 0)
    weights: Float64Array = DECAY_PER_WEEK ** (age / SECONDS_PER_WEEK)
    return weights


def compute_user_values(
    lines: Mapping[str, AnyArray], zones: tuple[str, ...], as_of: datetime
) -> dict[str, float]:
    """Return the columns of features/pipelines/user.py from kept lines, in its order."""
    now, at = int(as_of.timestamp()), lines["at"]
    n_lines = len(at)
    digests, order = np.unique(lines["order"], return_inverse=True)
    n_orders = len(digests)
    ordered_at = np.full(n_orders, np.iinfo(np.int64).max)
    np.minimum.at(ordered_at, order, at)
    span = int(ordered_at.max() - ordered_at.min())
    return {
        "recency_days": max(now - int(at.max()), 0) / SECONDS_PER_DAY,
        "tenure_days": max(now - int(at.min()), 0) / SECONDS_PER_DAY,
        "repeat_share": 1.0 - len(np.unique(lines["item"])) / n_lines,
        "frequency": float(n_orders),
        "frequency_decayed": float(decay(ordered_at, as_of).sum()),
        "order_interval_days": span / SECONDS_PER_DAY / (n_orders - 1)
        if n_orders > 1
        else float("nan"),
        "lines_per_order": n_lines / n_orders,
        **_compute_money(lines, zones, as_of),
    }


def _compute_money(
    lines: Mapping[str, AnyArray], zones: tuple[str, ...], as_of: datetime
) -> dict[str, float]:
    """Return the money features, over the lines of the zone with the most lines."""
    counts = np.bincount(lines["zone"], minlength=len(zones))
    main = min(np.flatnonzero(counts == counts.max()), key=lambda zone: zones[zone])
    in_main = lines["zone"] == main
    bought = lines["bought"][in_main]
    share = (bought - lines["refunded"][in_main]) / bought
    paid, listed = lines["paid"][in_main] * share, lines["listed"][in_main] * share
    known = ~np.isnan(listed)
    list_value = float(listed[known].sum())
    saved = float(np.maximum(listed[known] - paid[known], 0.0).sum())
    reduced = paid[known] <= listed[known] * (1.0 - REDUCED_SHARE)
    return {
        "monetary_minor": float(paid.sum()),
        "monetary_decayed_minor": float((paid * decay(lines["at"][in_main], as_of)).sum()),
        "discount_share": saved / list_value if list_value else float("nan"),
        "price_sensitivity": float(reduced.mean()) if known.any() else float("nan"),
    }
