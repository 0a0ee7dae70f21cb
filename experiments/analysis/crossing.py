"""How likely a test that is read several times crosses its bounds, by numerical integration.

The scores of an experiment at information shares t are those of Brownian motion B(t) / sqrt(t),
with the expected score at t = 1 as its drift (Armitage, McPherson and Rowe 1969; Jennison and
Turnbull 2000, chapter 19). The density of paths that have crossed no bound is carried from look to
look on Gauss-Legendre panels as wide as one standard deviation of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from features.contracts.arrays import Float64Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_REACH = 8.5
"""Paths further than so many standard deviations from the drift are left out."""
_MAX_PANELS = 400


@dataclass(frozen=True)
class OpenPaths:
    """The paths that have crossed no bound until a share of the information.

    positions, masses   of B at that share: nodes of integration and their probabilities
    """

    share: float
    positions: Float64Array
    masses: Float64Array

    def exceed(self, share: float, bound: float, drift: float = 0.0) -> float:
        """Return the probability of being open until now and above `bound` at `share`."""
        step = share - self.share
        scores = (self.positions + drift * step - bound * math.sqrt(share)) / math.sqrt(step)
        return float(self.masses @ ndtr(scores))

    def advance(self, share: float, bound: float, drift: float = 0.0) -> OpenPaths:
        """Return the paths that are between -bound and bound at `share`, too."""
        step = math.sqrt(share - self.share)
        limit = bound * math.sqrt(share)
        low = max(-limit, drift * share - _REACH * math.sqrt(share))
        high = min(limit, drift * share + _REACH * math.sqrt(share))
        if low >= high:
            return OpenPaths(share, np.zeros(1), np.zeros(1))
        positions, weights = _lay_panels(low, high, step)
        moves = (positions[:, None] - self.positions - drift * step**2) / step
        density = np.exp(-0.5 * moves**2) @ self.masses / (step * math.sqrt(2 * math.pi))
        return OpenPaths(share, positions, weights * density)


START = OpenPaths(0.0, np.zeros(1), np.ones(1))


@dataclass(frozen=True)
class Crossing:
    """Probabilities of crossing the upper and the lower bound first at each look. [looks]"""

    upper: Float64Array
    lower: Float64Array


def compute_crossing(
    shares: Sequence[float], bounds: Sequence[float], drift: float = 0.0
) -> Crossing:
    """Return where paths with the drift cross the bounds of the score, -bound and bound.

    shares   of the planned information at the looks, rising, above 0
    drift    the expected score at a share of 1

    >>> crossing = compute_crossing([1.0], [1.959964])
    >>> round(float(crossing.upper[0]), 6)
    0.025
    """
    paths, upper, lower = START, [], []
    for share, bound in zip(shares, bounds, strict=True):
        upper.append(paths.exceed(share, bound, drift))
        mirrored = OpenPaths(paths.share, -paths.positions, paths.masses)
        lower.append(mirrored.exceed(share, bound, -drift))
        paths = paths.advance(share, bound, drift)
    return Crossing(np.array(upper), np.array(lower))


def _lay_panels(low: float, high: float, width: float) -> tuple[Float64Array, Float64Array]:
    """Return nodes and weights of integration over [low, high] on panels of about that width."""
    n_panels = min(max(math.ceil((high - low) / width), 4), _MAX_PANELS)
    edges = np.linspace(low, high, n_panels + 1)
    half = (high - low) / n_panels / 2
    nodes = (edges[:-1, None] + half) + half * _NODES
    return nodes.ravel(), np.tile(half * _WEIGHTS, n_panels)
