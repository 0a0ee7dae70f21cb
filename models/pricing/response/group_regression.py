"""Series by group: sums over groups, and coefficients that are drawn to those of the wider
group."""

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
    """A group of each of S series, at one level: S numbers, and a matrix that sums over groups."""

    codes: Int64Array
    n: int
    matrix: sparse.csr_matrix

    @classmethod
    def of(cls, values: AnyArray) -> Groups:
        """Series with equal values are in one group."""
        numbers = np.asarray(np.unique(values, return_inverse=True)[1]).astype(np.int64).ravel()
        n = int(numbers.max(initial=-1)) + 1
        ones = (np.ones(len(numbers)), (numbers, np.arange(len(numbers))))
        return cls(numbers, n, sparse.csr_matrix(ones, shape=(n, len(numbers))))

    def sums(self, values: Float64Array) -> Float64Array:
        """(n, ...) sums over each group of values (S, ...)."""
        return np.asarray(self.matrix @ values)


@dataclass(frozen=True)
class Levels:
    """The groups of a panel's series, within their zone, from the widest to the narrowest."""

    zone: Groups
    wide: tuple[Groups, ...]  # by category, the department first
    family: Groups | None  # None where no item has a family

    @classmethod
    def of(cls, panel: PricePanel, depths: Sequence[int]) -> Levels:
        """`depths` are the levels of the category to tell apart."""
        zone = np.asarray(np.unique(panel.zones.astype(str), return_inverse=True)[1])
        wide = tuple(
            Groups.of(codes(panel.category, depth) * (int(zone.max()) + 1) + zone)
            for depth in sorted(depths)
        )
        family = None
        if (panel.family != "").any():
            alone = [f"\x1f{n}" for n in range(len(zone))]  # an item without a family is its own
            names = np.where(panel.family == "", alone, panel.family.astype(str))
            family = Groups.of(
                np.char.add(np.char.add(zone.astype(str), "\x1f"), names.astype(str))
            )
        return cls(Groups.of(zone), wide, family)

    @property
    def nested(self) -> tuple[Groups, ...]:
        """Zone, departments, categories."""
        return (self.zone, *self.wide)


def common(
    values: Float64Array, weights: Float64Array, levels: Levels, variance: float
) -> Float64Array:
    """(S, W) how others moved in the same week: those of the zone, and beyond it of the department
    and category.

    Neither the series itself nor its family is among the others: a family loses what a cut wins.
    `variance` of the movement is assumed before the data are seen, so a mean of few is drawn to 0.
    """
    own = Groups.of(np.arange(len(values))) if levels.family is None else levels.family
    moved = np.zeros(values.shape)
    for group in levels.nested:
        weighted = weights * (values - moved)
        total = group.sums(weighted)[group.codes] - own.sums(weighted)[own.codes]
        weight = group.sums(weights)[group.codes] - own.sums(weights)[own.codes]
        moved = moved + total / (np.maximum(weight, 0) + 1 / variance)
    return moved


def coefficients(
    controls: Float64Array,
    targets: Float64Array,
    weights: Float64Array,
    groups: Sequence[Groups],
    strength: float,
) -> Float64Array:
    """(M, S, F) weighted least squares of targets (M, S, W) on controls (F, S, W), nested from
    group to group.

    One set of coefficients for each group of the first level, then each narrower group's departure
    from it, drawn to 0 as if `strength` of weight had been seen at 0 (ridge; Hoerl and Kennard,
    Technometrics 1970); the first ones are drawn by a hundredth of it.
    """
    n_controls = len(controls)
    found = np.zeros((*targets.shape[:2], n_controls))
    if not n_controls:
        return found
    products = np.einsum("sw,fsw,gsw->fgs", weights, controls, controls, optimize=True)
    rest = targets
    for level, group in enumerate(groups):
        gram = group.sums(products.reshape(-1, products.shape[2]).T).reshape(
            group.n, n_controls, n_controls
        )
        system = gram + (strength if level else strength / 100) * np.eye(n_controls)
        for m in range(len(targets)):
            target = group.sums(
                np.einsum("sw,fsw,sw->sf", weights, controls, rest[m], optimize=True)
            )
            found[m] += np.linalg.solve(system, target[:, :, None])[group.codes, :, 0]
        rest = targets - np.stack([explained(each, controls) for each in found])
    return found


def explained(found: Float64Array, controls: Float64Array) -> Float64Array:
    """(S, W) what coefficients (S, F) make of controls (F, S, W)."""
    return (
        np.asarray(np.einsum("sf,fsw->sw", found, controls))
        if len(controls)
        else np.zeros(controls.shape[1:])
    )


def centred(values: Float64Array, weights: Float64Array) -> Float64Array:
    """(S, W) `values` less their weighted mean over the weeks; 0 where the weight is 0."""
    mean = (values * weights).sum(1) / np.maximum(weights.sum(1), 1e-12)
    return np.where(weights > 0, values - mean[:, None], 0.0)
