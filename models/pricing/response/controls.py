"""Control variables that move units beside the own price: promotions, stocking up, the family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.nests import Nests
from models.pricing.response.panel import PricePanel
from models.pricing.response.treatments import PRICE_KIND

# Names of controls, as artifacts store them.
FAMILY_PRICE = "neighbours: price"
FAMILY_PREFIX = "neighbours: "
REDUCTION_BEFORE = "reduction before"
BEFORE_SUFFIX, AFTER_SUFFIX = " before", " after"


@dataclass(frozen=True)
class Controls:
    """F controls by name.

    raw        (F, S, W) values as they are
    residual   (F, S, W) without series means, common movements and slow drifts
    """

    names: tuple[str, ...]
    raw: Float64Array
    residual: Float64Array


def list_lift_kinds(panel: PricePanel) -> list[int]:
    """Return the numbers of the promotion kinds but reduced prices, which are a treatment."""
    return [number for number, kind in enumerate(panel.kinds) if kind != PRICE_KIND]


def build_controls(panel: PricePanel) -> tuple[tuple[str, ...], Float64Array]:
    """Return the names and the values (F, S, W) of the controls.

    Each kind of promotion in its week, in the week after and in the week before; the reduction of
    the week before, since shoppers stock up.
    """
    kinds = list_lift_kinds(panel)
    reach = panel.reach[kinds]
    names = [panel.kinds[kind] for kind in kinds]
    names += [name + BEFORE_SUFFIX for name in names] + [name + AFTER_SUFFIX for name in names]
    parts = [
        *reach,
        *_shift_weeks(reach, 1),
        *_shift_weeks(reach, -1),
        _shift_weeks(measure_reductions(panel), 1),
    ]
    names.append(REDUCTION_BEFORE)
    return tuple(names), np.stack(parts)


def sum_over_nest(values: Float64Array, cross_weights: Float64Array, nests: Nests) -> Float64Array:
    """Return the sum (S, W) of `values` over the other items of the nest.

    Each value counts times the cross weight (S,) of its series.
    """
    weighted = cross_weights[:, None] * values
    return nests.groups.sum_by_group(weighted)[nests.groups.codes] - weighted


def measure_reductions(panel: PricePanel) -> Float64Array:
    """Return how far log prices lie below the list price (S, W); 0 where unknown."""
    return np.nan_to_num(-panel.log_ratio)


def average_other_weeks(values: Float64Array, weights: Float64Array, memory: float) -> Float64Array:
    """Return the mean of the other weeks of each series (S, W), shrunk towards 0.

    Each week counts exp(-distance / `memory`) times its weight. This is the best estimate of a
    level that drifts (Muth, Optimal properties of exponentially weighted forecasts, JASA 1960).

    >>> once = 1 / np.log(2)  # half after a week: (9 / 2 + 4 / 4) / (1 / 2 + 1 / 4 + 1), ...
    >>> average_other_weeks(np.array([[2.0, 9.0, 4.0]]), np.ones((1, 3)), once).round(3).tolist()
    [[3.143, 1.5, 2.857]]
    """
    from scipy.signal import lfilter  # a server starts without it

    decay = np.exp(-1 / memory)

    def sum_other_weeks(series: Float64Array) -> Float64Array:
        before, after = (
            lfilter([1.0], [1.0, -decay], side, axis=1) for side in (series, series[:, ::-1])
        )
        return np.asarray(before + after[:, ::-1] - 2 * series)

    mean_weight = float(weights[weights > 0].mean()) if (weights > 0).any() else 1.0
    return sum_other_weeks(values * weights) / (sum_other_weeks(weights) + mean_weight)


def _shift_weeks(values: Float64Array, weeks: int) -> Float64Array:
    """Return the values of `weeks` weeks before (after, where negative); 0 where there are none."""
    shifted = np.zeros(values.shape)
    if weeks > 0:
        shifted[..., weeks:] = values[..., :-weeks]
    else:
        shifted[..., :weeks] = values[..., -weeks:]
    return shifted
