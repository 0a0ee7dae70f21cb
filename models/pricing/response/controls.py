"""Control variables that move units beside the own price: promotions, stocking up, the family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from features.contracts.arrays import Float64Array
from models.pricing.response.group_regression import Groups, Levels
from models.pricing.response.panel import PricePanel

# A promotion of this kind is nothing but its price: beside the price it has no effect of its own.
PRICE_KIND = "price"
# Names of controls, as artifacts store them.
FAMILY_PRICE = "neighbours: price"
FAMILY_DEEP_REDUCTION = "neighbours: deep reduction"
FAMILY_PREFIX = "neighbours: "
REDUCTION_BEFORE = "reduction before"
BEFORE_SUFFIX, AFTER_SUFFIX = " before", " after"
_USUAL_WEEKS = 4  # the usual price is the median of so many weeks before and after


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
    """Return the numbers of the promotion kinds that can have an effect beside their price."""
    return [number for number, kind in enumerate(panel.kinds) if kind != PRICE_KIND]


def build_controls(
    panel: PricePanel, price: Float64Array, levels: Levels, cross_weights: Float64Array
) -> tuple[tuple[str, ...], Float64Array]:
    """Return the names and the values (F, S, W) of the controls.

    Each kind of promotion in its week, in the week after and in the week before; how much cheaper
    than usual the week before was, since shoppers stock up; and where items have families: prices,
    deep reductions (squared: they take more than their share) and promotions of the others, summed
    with the `cross_weights` (S,) of each. `price` (S, W) is the centred log price, 0 where unknown.
    """
    kinds = list_lift_kinds(panel)
    reach = panel.reach[kinds]
    names = [panel.kinds[kind] for kind in kinds]
    names += [name + BEFORE_SUFFIX for name in names] + [name + AFTER_SUFFIX for name in names]
    parts = [
        *reach,
        *_shift_weeks(reach, 1),
        *_shift_weeks(reach, -1),
        _shift_weeks(measure_reductions(panel.log_price), 1),
    ]
    names.append(REDUCTION_BEFORE)
    if levels.family is not None:
        names += [FAMILY_PRICE, FAMILY_DEEP_REDUCTION]
        names += [FAMILY_PREFIX + panel.kinds[kind] for kind in kinds]
        of_one_item = (price, measure_reductions(panel.log_price) ** 2, *reach)
        parts += [sum_over_family(values, cross_weights, levels) for values in of_one_item]
    return tuple(names), np.stack(parts)


def sum_over_family(
    values: Float64Array, cross_weights: Float64Array, levels: Levels
) -> Float64Array:
    """Return the sum (S, W) of `values` over the other items of the family.

    Each value counts times the cross weight (S,) of its series.
    """
    family = levels.family or Groups.from_values(np.arange(len(cross_weights)))
    weighted = cross_weights[:, None] * values
    return family.sum_by_group(weighted)[family.codes] - weighted


def measure_reductions(log_price: Float64Array) -> Float64Array:
    """Return how far log prices lie below the usual one (S, W); 0 where unknown.

    The usual price is the median of the weeks around.

    >>> measure_reductions(np.log([[2.0, 2.0, 1.0, 2.0, 2.5]])).round(4).tolist()  # ln 2 - ln 1
    [[0.0, 0.0, 0.6931, 0.0, 0.0]]
    """
    reductions = np.zeros(log_price.shape)
    # In blocks of series, since the windows need nine times the memory of the prices.
    for rows in np.array_split(np.arange(len(log_price)), len(log_price) // 20_000 + 1):
        padded = np.pad(
            log_price[rows], ((0, 0), (_USUAL_WEEKS, _USUAL_WEEKS)), constant_values=np.nan
        )
        windows = np.sort(
            np.lib.stride_tricks.sliding_window_view(padded, 2 * _USUAL_WEEKS + 1, axis=1), axis=2
        )
        counts = np.isfinite(windows).sum(2)
        usual = np.take_along_axis(windows, np.maximum(counts // 2, 0)[:, :, None], axis=2)[:, :, 0]
        reductions[rows] = np.nan_to_num(np.maximum(usual - log_price[rows], 0.0))
    return reductions


def average_other_weeks(values: Float64Array, weights: Float64Array, memory: float) -> Float64Array:
    """Return the mean of the other weeks of each series (S, W), shrunk towards 0.

    Each week counts exp(-distance / `memory`) times its weight. This is the best estimate of a
    level that drifts (Muth, Optimal properties of exponentially weighted forecasts, JASA 1960).

    >>> once = 1 / np.log(2)  # half after a week: (9 / 2 + 4 / 4) / (1 / 2 + 1 / 4 + 1), ...
    >>> average_other_weeks(np.array([[2.0, 9.0, 4.0]]), np.ones((1, 3)), once).round(3).tolist()
    [[3.143, 1.5, 2.857]]
    """
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
