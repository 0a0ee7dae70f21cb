"""A fitted price response whose numbers are given: one response to every price, and no families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from features.contracts.arrays import AnyArray, Float64Array
from models.pricing.response.elasticity import ElasticityModel


def make_fitted_response(
    item_ids: Sequence[str],
    elasticity: Float64Array,
    *,
    zone: str | Sequence[str] = "default",
    lifts: Mapping[str, float] | None = None,
    **columns: AnyArray,
) -> ElasticityModel:
    """Return the model; `elasticity` (n,) is that of regular and of reduced prices. `zone` is that
    of all items, or that of each."""
    n, lifts = len(item_ids), lifts or {}
    error, zero = np.full(n, 0.1), np.zeros(n)
    given: dict[str, AnyArray] = {
        "elasticity": elasticity,
        "error": error,
        "depth": elasticity,
        "depth_error": error,
        "announced": zero,
        "announced_error": zero,
        "responses": np.stack([elasticity, elasticity, zero], axis=1),
        "effects": np.tile(np.array(list(lifts.values())), (n, 1)),
        "n_changes": np.full(n, 20),
        "grade": np.zeros(n, np.int64),
        "lowest": np.full(n, 50.0),
        "highest": np.full(n, 200.0),
        "family": np.array([""] * n, object),
        "cross_received": zero,
        "cross_sent": zero,
        "cross_error": zero,
        "inside": zero,
        "share": zero,
        "pull": zero,
        "shop_error": zero,
        "category_error": zero,
    }
    return ElasticityModel(
        np.array(item_ids, object),
        np.array([zone] * n if isinstance(zone, str) else zone, object),
        controls=tuple(lifts),
        **{**given, **columns},
    )
