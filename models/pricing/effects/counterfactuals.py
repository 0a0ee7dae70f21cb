"""The control of price changes: what their items would have sold at the prices of before.

The forecast that was frozen before the change comes first. What moved demand as a whole since is
read off the unchanged items of the category, as actual over expected units: a difference in
differences of logarithms. n items of one zone over the same weeks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from models.pricing.effects.common_shift import (
    CommonShift,
    combine_with_forecast,
    estimate_common_shift,
    measure_excess,
    weigh_controls,
)

MIN_CONTROLS = 8  # items; with fewer the next higher category is taken
_SMALLEST_DISPERSION = 1e-3
_SEPARATOR = " > "


@dataclass(frozen=True)
class SoldItems:
    """What n items sold in the weeks that count of each, beside their frozen forecasts.

    units, expected   (n,) sums over the weeks that count; expected at the prices of before
    dispersion        (n,) of such a sum: variance = expected + dispersion × expected²
    category, family  (n,) "" where unknown; categories are paths
    is_control        (n,) items whose prices and promotions did not move
    """

    units: Float64Array
    expected: Float64Array
    dispersion: Float64Array
    category: ObjectArray
    family: ObjectArray
    is_control: BoolArray


@dataclass(frozen=True)
class ControlGroup:
    """Unchanged items that stand for some changed ones.

    category    theirs; "" for all items of the zone
    shift       combined with the forecast
    carries     whether the unchanged items say more than the forecast does
    """

    category: str
    shift: CommonShift
    carries: bool

    def describe(self) -> str:
        """Return what the control is, in words."""
        if not self.carries:
            return "forecast"
        return f"unchanged items of {self.category or 'the zone'} ({self.shift.n_items})"


@dataclass(frozen=True)
class Control:
    """Expected units of m changed items had their prices been kept.

    keeping      (m,) forecast × exp(shift of the item's group)
    dispersion   (m,) scaled by how far the unchanged items were from their forecasts
    group        (m,) index into `groups`
    """

    keeping: Float64Array
    dispersion: Float64Array
    group: Int64Array
    groups: tuple[ControlGroup, ...]

    @property
    def error(self) -> Float64Array:
        """(m,) standard error of the logarithm of `keeping`, shared by an `error_group`."""
        return np.array([self.groups[index].shift.error for index in self.group], np.float64)

    @property
    def error_group(self) -> Int64Array:
        """(m,) number of the category that the control of each item is from.

        Families of a category leave out their own items, and have nearly the same control.
        """
        numbers: dict[str, int] = {}
        paths = [self.groups[index].category for index in self.group]
        return np.array([numbers.setdefault(path, len(numbers)) for path in paths], np.int64)


@dataclass(frozen=True)
class ControlShift:
    """By which factor unchanged items moved the forecast of some others together.

    control   which items these are, in words
    error     standard error of the logarithm of `factor`
    """

    control: str
    factor: float
    error: float


def build_control(sold: SoldItems, changed: Int64Array, common_error: float) -> Control:
    """Return what the items with the indices `changed` (m,) would have sold.

    common_error   standard deviation of what the forecasts of a category miss together

    The family of an item is no control of it: what an item loses by its price its family gains.
    """
    excess = _measure_excess(sold)
    mean = sold.expected
    variance = excess * (mean + sold.dispersion * mean**2)
    dispersion = np.maximum((variance - mean) / np.maximum(mean, 1e-9) ** 2, _SMALLEST_DISPERSION)
    groups: list[ControlGroup] = []
    index_of: dict[tuple[str, str], int] = {}
    of_item = []
    for item in changed.tolist():
        key = str(sold.category[item]), str(sold.family[item])
        if key not in index_of:
            index_of[key] = len(groups)
            groups.append(_find_group(sold, dispersion, key, common_error))
        of_item.append(index_of[key])
    group = np.array(of_item, np.int64)
    shift = np.array([groups[index].shift.log for index in of_item], np.float64)
    return Control(
        keeping=mean[changed] * np.exp(shift),
        dispersion=dispersion[changed],
        group=group,
        groups=tuple(groups),
    )


def list_paths(category: str) -> Iterator[str]:
    """Return a category, then each one above it, and last "".

    >>> list(list_paths("Food > Tea"))
    ['Food > Tea', 'Food', '']
    """
    parts = category.split(_SEPARATOR) if category else []
    return (_SEPARATOR.join(parts[:depth]) for depth in range(len(parts), -1, -1))


def _find_group(
    sold: SoldItems, dispersion: Float64Array, key: tuple[str, str], common_error: float
) -> ControlGroup:
    """Return the unchanged items nearest to a category: the narrowest group of enough items."""
    category, family = key
    usable = sold.is_control & (sold.expected > 0)
    if family:
        usable &= sold.family != family
    for path in list_paths(category):
        inside = usable & _is_inside(sold.category, path)
        if inside.sum() >= MIN_CONTROLS or path == "":
            break
    shift = estimate_common_shift(sold.units[inside], sold.expected[inside], dispersion[inside])
    combined = combine_with_forecast(shift, common_error)
    carries = bool(inside.sum() >= MIN_CONTROLS and weigh_controls(shift, common_error) > 0.5)
    return ControlGroup(path, combined, carries)


def _measure_excess(sold: SoldItems) -> float:
    """Return how far the controls are from their forecasts, once each category has its shift."""
    usable = np.flatnonzero(sold.is_control & (sold.expected > 0))
    tops = np.array([_take_upper(str(path)) for path in sold.category[usable]], object)
    mean = sold.expected[usable].copy()
    for top in sorted(set(tops.tolist())):
        rows = tops == top
        if rows.sum() > 1:
            items = usable[rows]
            shift = estimate_common_shift(
                sold.units[items], sold.expected[items], sold.dispersion[items]
            )
            mean[rows] *= np.exp(shift.log)
    return measure_excess(sold.units[usable], mean, sold.dispersion[usable])


def _take_upper(category: str) -> str:
    """Return the two upper levels of a category, which have enough items for a mean."""
    return _SEPARATOR.join(category.split(_SEPARATOR)[:2])


def _is_inside(categories: ObjectArray, path: str) -> BoolArray:
    if path == "":
        return np.ones(len(categories), bool)
    below = f"{path}{_SEPARATOR}"
    return np.array([name == path or name.startswith(below) for name in categories], bool)
