"""What else moves units when a price moves: promotions and their neighbours in time, stocking up,
the family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from features.contracts.arrays import Float64Array
from models.pricing.response.group_regression import Groups, Levels
from models.pricing.response.panel import PricePanel

# A promotion of this kind is nothing but its price: beside the price it has no effect of its own.
PRICE_KIND = "price"
NEIGHBOURS, STOCKED_UP = "neighbours: price", "reduction before"
DEEP = "neighbours: deep reduction"
BEFORE, AFTER, OF_NEIGHBOURS = " before", " after", "neighbours: "
_USUAL = 4  # the usual price is the median of so many weeks before and after


@dataclass(frozen=True)
class Controls:
    """F controls by name, as they are (S, W each) and after what is common to others was taken
    out."""

    names: tuple[str, ...]
    raw: Float64Array  # (F, S, W)
    residual: Float64Array  # (F, S, W)


def lifting_kinds(panel: PricePanel) -> list[int]:
    """Which kinds of promotion can have an effect beside their price."""
    return [place for place, kind in enumerate(panel.kinds) if kind != PRICE_KIND]


def raw_controls(
    panel: PricePanel, price: Float64Array, levels: Levels, pull: Float64Array
) -> tuple[tuple[str, ...], Float64Array]:
    """Names and values (F, S, W). `price` (S, W) is the centred log price, 0 where none is known.

    Each kind of promotion in its week, in the week after and in the week before; how much cheaper
    than usual the week before was, since shoppers stock up; and where items have families, prices,
    deep reductions (squared: they take more than their share) and promotions of the others, a sum
    weighted by the `pull` (S,) of each.
    """
    kinds = lifting_kinds(panel)
    reach = panel.reach[kinds]
    names = [panel.kinds[place] for place in kinds]
    names += [name + BEFORE for name in names] + [name + AFTER for name in names]
    parts = [
        *reach,
        *_shifted(reach, 1),
        *_shifted(reach, -1),
        _shifted(reductions(panel.log_price), 1),
    ]
    names.append(STOCKED_UP)
    if levels.family is not None:
        names += [NEIGHBOURS, DEEP, *(OF_NEIGHBOURS + panel.kinds[place] for place in kinds)]
        parts += [
            neighbours(each, pull, levels)
            for each in (price, reductions(panel.log_price) ** 2, *reach)
        ]
    return tuple(names), np.stack(parts)


def neighbours(values: Float64Array, pull: Float64Array, levels: Levels) -> Float64Array:
    """(S, W) sum of `values` over the others of the family, each times its `pull` (S,)."""
    family = levels.family or Groups.of(np.arange(len(pull)))
    pulled = pull[:, None] * values
    return family.sums(pulled)[family.codes] - pulled


def reductions(log_price: Float64Array) -> Float64Array:
    """(S, W) how far the log price lies below the usual one, the median of the weeks around; 0
    where unknown.

    >>> reductions(np.log([[2.0, 2.0, 1.0, 2.0, 2.5]])).round(4).tolist()  # ln 2 - ln 1
    [[0.0, 0.0, 0.6931, 0.0, 0.0]]
    """
    found = np.zeros(log_price.shape)
    for rows in np.array_split(np.arange(len(log_price)), len(log_price) // 20_000 + 1):
        padded = np.pad(log_price[rows], ((0, 0), (_USUAL, _USUAL)), constant_values=np.nan)
        windows = np.sort(
            np.lib.stride_tricks.sliding_window_view(padded, 2 * _USUAL + 1, axis=1), axis=2
        )
        counts = np.isfinite(windows).sum(2)
        usual = np.take_along_axis(windows, np.maximum(counts // 2, 0)[:, :, None], axis=2)[:, :, 0]
        found[rows] = np.nan_to_num(np.maximum(usual - log_price[rows], 0.0))
    return found


def around(values: Float64Array, weights: Float64Array, memory: float) -> Float64Array:
    """(S, W) mean of the other weeks, each counting exp(-distance / `memory`) times its weight,
    drawn to 0.

    The best estimate of a level that drifts (Muth, Optimal properties of exponentially weighted
    forecasts, JASA 1960).

    >>> once = 1 / np.log(2)  # half after a week: (9 / 2 + 4 / 4) / (1 / 2 + 1 / 4 + 1), ...
    >>> around(np.array([[2.0, 9.0, 4.0]]), np.ones((1, 3)), once).round(3).tolist()
    [[3.143, 1.5, 2.857]]
    """
    kept = np.exp(-1 / memory)

    def others(each: Float64Array) -> Float64Array:
        before, after = (
            lfilter([1.0], [1.0, -kept], side, axis=1) for side in (each, each[:, ::-1])
        )
        return np.asarray(before + after[:, ::-1] - 2 * each)

    mean = float(weights[weights > 0].mean()) if (weights > 0).any() else 1.0
    return others(values * weights) / (others(weights) + mean)


def _shifted(values: Float64Array, weeks: int) -> Float64Array:
    """Values of `weeks` weeks before (after, for negative ones); 0 where there were none."""
    moved = np.zeros(values.shape)
    if weeks > 0:
        moved[..., weeks:] = values[..., :-weeks]
    else:
        moved[..., :weeks] = values[..., -weeks:]
    return moved
