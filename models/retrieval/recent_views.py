"""What many visits look at now: popularity by views that fades within days."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.visits import Visits
from models.artifact import read_arrays, read_meta, write_arrays, write_meta
from models.retrieval.session_knn import list_distinct_items

KIND = "recent_views"
_MS_PER_DAY = 24 * 3600 * 1000


@dataclass(frozen=True)
class RecentViewsConfig:
    """`half_life_days` after which a visit counts half."""

    half_life_days: float = 1.0


class RecentViews:
    """Decayed visits of each item, float32 (n_items,), as a share of all."""

    def __init__(self, shares: Float32Array) -> None:
        self._shares = shares

    def score(self, viewed: Int64Array) -> Float32Array:
        """Return the shares (n_items,), the same whatever was viewed."""
        del viewed
        return self._shares

    def save(self, folder: Path) -> None:
        """Write `model.json` and `shares.npz`."""
        write_meta(folder, KIND, {})
        write_arrays(folder / "shares.npz", shares=self._shares)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        read_meta(folder, KIND)
        return cls(read_arrays(folder / "shares.npz")["shares"])


def fit_recent_views(visits: Visits, config: RecentViewsConfig) -> RecentViews:
    """Fit on past visits; the last one of them is now."""
    pairs, ended_at = list_distinct_items(visits), visits.ended_at
    age_days = (ended_at.max(initial=0) - ended_at) / _MS_PER_DAY
    weights = 0.5 ** (age_days / config.half_life_days)
    sums = np.bincount(pairs[:, 1], weights[pairs[:, 0]], len(visits.item_ids))
    return RecentViews((sums / max(float(sums.sum()), 1e-9)).astype(np.float32))
