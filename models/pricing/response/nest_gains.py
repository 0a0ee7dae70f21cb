"""What nests gain from an item's regular price, as decisions need it, with its error.

S series; the nest of an item is its family or the rest of its category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Float64Array
from models.pricing.response.choice_form import ChoiceEffect
from models.pricing.response.log_linear_form import LogLinearEffect
from models.pricing.response.margin_evidence import MarginEvidence
from models.pricing.response.nest_coefficients import NestEffect
from models.pricing.response.nests import Nests
from models.pricing.response.treatments import N_TREATMENTS, REGULAR

# Items of a family differ in how much they take from each other by about so much of it; those of
# the rest of a category, some of which do not replace each other at all, by more.
_HETEROGENEITY, _HETEROGENEITY_OF_RESTS = 0.3, 0.6


class SentUnits(NamedTuple):
    """What nests gain from the regular prices of items (S,), and the parts of its error.

    sent     of the cross elasticity, received (i) × sent (j)
    by_own   by how much it moves with one standard error of the item's own slope, a share of it
    common   the same for the diversion that all items of the shop have in common
    alone    standard error that pairs of items have alone, a share of it
    """

    sent: Float64Array
    by_own: Float64Array
    common: Float64Array
    alone: Float64Array


@dataclass(frozen=True)
class NestGains:
    """All arrays (S,) unless stated.

    In the choice form a utility that rises takes from the nest, the item itself included: log units
    of the item rise by 1 - inside × share of it, with another `inside` for regular prices.

    kept                     (S, 3) share of each response that the item keeps
    inside, inside_regular   of the choice form; 0 elsewhere
    cross_weights, pulls     of the log-linear form: weight, and (S, 3) coefficients; 0 elsewhere
    received                 of the cross elasticity, received (i) × sent (j)
    relative_error           standard error of the diversion, a share of it: common to the shop
    moved                    by how much regular responses move with it
    """

    nests: Nests
    kept: Float64Array
    inside: Float64Array
    inside_regular: Float64Array
    cross_weights: Float64Array
    pulls: Float64Array
    received: Float64Array
    relative_error: Float64Array
    moved: Float64Array

    @classmethod
    def build(cls, nest: NestEffect | None, nests: Nests, margins: MarginEvidence) -> NestGains:
        """Return what a form of the nests does, given the evidence of margins."""
        n = len(nests.share)
        zero = np.zeros(n)
        inside = inside_regular = cross_weights = received = relative = zero
        pulls = np.zeros((n, N_TREATMENTS))
        if nest is not None:
            regular = shift_regular(nest, margins.shift)
            error = margins.spread * nest.expect_regular()[1]
            relative = error / np.maximum(regular, 1e-9)
            received = np.where(nests.nested, 1.0, 0.0)
            if isinstance(nest, ChoiceEffect):
                inside, inside_regular = nest.expect_inside(), regular
            elif isinstance(nest, LogLinearEffect):
                cross_weights, received = nest.cross_weights, regular
                pulls = nest.coefficients.spread_means(nests).T
        lost = np.stack([inside_regular, inside, inside], axis=1) * nests.share[:, None]
        return cls(
            nests=nests,
            kept=1 - lost,
            inside=inside,
            inside_regular=inside_regular,
            cross_weights=np.where(nests.nested, cross_weights, 0.0),
            pulls=pulls,
            received=received,
            relative_error=np.where(nests.nested, relative, 0.0),
            moved=margins.moved,
        )

    def move_elasticities(self, slopes: Float64Array) -> Float64Array:
        """Return by how much elasticities (S,) move with the common error of the diversion."""
        more_lost = self.inside_regular * self.relative_error * self.nests.share
        return self.moved * self.kept[:, REGULAR] - slopes * more_lost

    def find_cross(self, slopes: Float64Array, own_errors: Float64Array) -> SentUnits:
        """Return what nests gain at regular slopes (S,) with errors of their own.

        In the choice form a nest gains what the item's slope drives away: less where it is less
        steep.
        """
        zero = np.zeros(len(slopes))
        sent, by_own, common = self.cross_weights, zero, self.relative_error
        if self.inside_regular.any():
            sent = -slopes * self.inside_regular * self.nests.share
            by_own = own_errors / np.minimum(slopes, -0.1)
            common = common + self.moved / np.minimum(slopes, -0.1)
        alone = np.where(self.nests.declared, _HETEROGENEITY, _HETEROGENEITY_OF_RESTS)
        is_nested = self.nests.nested
        return SentUnits(
            *(np.where(is_nested, part, 0.0) for part in (sent, by_own, common, alone))
        )


def shift_regular(nest: NestEffect, errors: float) -> Float64Array:
    """Return the coefficient of regular prices (S,) so many standard errors from its mean."""
    mean, error = nest.expect_regular()
    return np.clip(mean + errors * error, 0.0, nest.limit_regular())
