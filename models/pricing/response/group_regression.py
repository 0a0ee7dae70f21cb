"""Groups of series: sums by group, and ridge coefficients shrunk towards those of wider groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from features.contracts.arrays import AnyArray, Float64Array, Int64Array
from features.contracts.categories import codes
from models.pricing.response.panel import PricePanel


@dataclass(frozen=True)
class Groups:
    """The group of each of S series at one level.

    codes    (S,) group numbers from 0
    n        number of groups
    matrix   (n, S) indicator matrix; its product with values sums them by group
    """

    codes: Int64Array
    n: int
    matrix: sparse.csr_matrix

    @classmethod
    def from_values(cls, values: AnyArray) -> Groups:
        """Put series with equal values (S,) into one group."""
        numbers = np.asarray(np.unique(values, return_inverse=True)[1]).astype(np.int64).ravel()
        n = int(numbers.max(initial=-1)) + 1
        ones = (np.ones(len(numbers)), (numbers, np.arange(len(numbers))))
        return cls(numbers, n, sparse.csr_matrix(ones, shape=(n, len(numbers))))

    def sum_by_group(self, values: Float64Array) -> Float64Array:
        """Return the sums (n, ...) over each group of values (S, ...)."""
        return np.asarray(self.matrix @ values)


@dataclass(frozen=True)
class Levels:
    """The groups of a panel's series at several levels, each within one zone.

    zone         all series of a zone
    categories   by category, the widest level (the department) first
    family       None where no item has a family
    """

    zone: Groups
    categories: tuple[Groups, ...]
    family: Groups | None

    @classmethod
    def from_panel(cls, panel: PricePanel, depths: Sequence[int]) -> Levels:
        """Group the series of a panel; `depths` are the levels of the category path to use."""
        zone = np.asarray(np.unique(panel.zones.astype(str), return_inverse=True)[1])
        categories = tuple(
            Groups.from_values(codes(panel.category, depth) * (int(zone.max()) + 1) + zone)
            for depth in sorted(depths)
        )
        family = None
        if (panel.family != "").any():
            # An item without a family forms a family of its own.
            own_names = [f"\x1f{series}" for series in range(len(zone))]
            names = np.where(panel.family == "", own_names, panel.family.astype(str))
            family = Groups.from_values(
                np.char.add(np.char.add(zone.astype(str), "\x1f"), names.astype(str))
            )
        return cls(Groups.from_values(zone), categories, family)

    @property
    def nested(self) -> tuple[Groups, ...]:
        """Zone, departments, categories."""
        return (self.zone, *self.categories)


def estimate_common_movement(
    values: Float64Array, weights: Float64Array, levels: Levels, variance: float
) -> Float64Array:
    """Return how other series moved in the same week (S, W).

    First the other series of the zone, then what those of the department and of the category moved
    beyond it. The series itself and its family do not count as others: a family loses what a price
    cut wins. `variance` of the movement is the prior, so a mean of few series is shrunk towards 0.
    """
    own = levels.family or Groups.from_values(np.arange(len(values)))
    movement = np.zeros(values.shape)
    for group in levels.nested:
        weighted = weights * (values - movement)
        total = group.sum_by_group(weighted)[group.codes] - own.sum_by_group(weighted)[own.codes]
        weight = group.sum_by_group(weights)[group.codes] - own.sum_by_group(weights)[own.codes]
        movement = movement + total / (np.maximum(weight, 0) + 1 / variance)
    return movement


def fit_nested_ridge(
    controls: Float64Array,
    targets: Float64Array,
    weights: Float64Array,
    groups: Sequence[Groups],
    strength: float,
) -> Float64Array:
    """Return coefficients (M, S, F) of targets (M, S, W) on controls (F, S, W).

    Weighted least squares, nested: one set of coefficients for each group of the first level, then
    the deviation of each narrower group from it. Deviations are shrunk towards 0 as if a weight of
    `strength` had been observed at 0 (ridge; Hoerl and Kennard, Technometrics 1970), the first
    level's coefficients by a hundredth of it.
    """
    n_controls = len(controls)
    coefficients = np.zeros((*targets.shape[:2], n_controls))
    if not n_controls:
        return coefficients
    products = np.einsum("sw,fsw,gsw->fgs", weights, controls, controls, optimize=True)
    remainder = targets
    for level, group in enumerate(groups):
        gram = group.sum_by_group(products.reshape(-1, products.shape[2]).T).reshape(
            group.n, n_controls, n_controls
        )
        system = gram + (strength if level else strength / 100) * np.eye(n_controls)
        for m in range(len(targets)):
            target = group.sum_by_group(
                np.einsum("sw,fsw,sw->sf", weights, controls, remainder[m], optimize=True)
            )
            coefficients[m] += np.linalg.solve(system, target[:, :, None])[group.codes, :, 0]
        remainder = targets - np.stack(
            [apply_coefficients(of_target, controls) for of_target in coefficients]
        )
    return coefficients


def apply_coefficients(coefficients: Float64Array, controls: Float64Array) -> Float64Array:
    """Return the sum (S, W) of coefficients (S, F) times controls (F, S, W)."""
    if not len(controls):
        return np.zeros(controls.shape[1:])
    return np.asarray(np.einsum("sf,fsw->sw", coefficients, controls))


def centre_series(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Return values less the weighted mean of their series (S, W); 0 where the weight is 0."""
    mean = (values * weights).sum(1) / np.maximum(weights.sum(1), 1e-12)
    return np.where(weights > 0, values - mean[:, None], 0.0)
