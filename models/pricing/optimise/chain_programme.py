"""The best choices of all chains at once, exactly: a dynamic programme along each, all of one depth
in one step.

Which choices of the item before go with a choice is a range of its ladder (size order, equal
prices), so that the best of them is a range maximum: a table of maxima over powers of two answers
each in two look-ups.

Reference: Bender and Farach-Colton, The LCA problem revisited, 2000 (the sparse table).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Choices, Links, best_in_windows


@dataclass(frozen=True)
class _Step:
    """From the items of one depth to those of the next.

    before, here   the choices of the items before and of the items themselves
    left, right    places in the table of maxima, per choice here
    n_levels       rows of that table
    barred         choices here with which none before goes
    """

    before: slice
    here: slice
    left: Int64Array
    right: Int64Array
    n_levels: int
    barred: Int64Array


class ChainProgramme:
    """Finds the best choices of items in chains for any scores; what does not depend on scores is
    kept."""

    def __init__(self, choices: Choices, links: Links) -> None:
        if (np.diff(links.depth) < 0).any():
            raise ValueError("items must be sorted by their place in the chain")
        self._choices = choices
        self._links = links
        depths = np.searchsorted(links.depth, np.arange(int(links.depth.max(initial=0)) + 2))
        self._items = [slice(first, end) for first, end in pairwise(depths)]
        bounds = [
            slice(int(choices.starts[s.start]), int(choices.starts[s.stop])) for s in self._items
        ]
        self._steps = [self._step(before, here) for before, here in pairwise(bounds)]

    def _step(self, before: slice, here: slice) -> _Step:
        first, end = self._links.first[here] - before.start, self._links.end[here] - before.start
        lengths = end - first
        barred = np.flatnonzero(lengths <= 0)
        first, lengths = np.where(lengths > 0, first, 0), np.maximum(lengths, 1)
        level = np.floor(np.log2(lengths)).astype(np.int64)
        width = before.stop - before.start
        right = first + lengths - (1 << level)
        return _Step(
            before,
            here,
            level * width + first,
            level * width + right,
            int(level.max(initial=0)) + 1,
            here.start + barred,
        )

    def best(self, scores: Float64Array) -> tuple[Int64Array, float]:
        """The choice of each item (n,) with the largest sum of `scores` (N,), and that sum.

        The sum is -inf when some chain has no choices that go together; the choices then mean
        nothing.
        """
        reached = scores.copy()
        for step in self._steps:
            table = _maxima(reached[step.before], step.n_levels)
            reached[step.here] += np.maximum(table[step.left], table[step.right])
            reached[step.barred] = -np.inf
        chosen = np.zeros(len(self._links.previous), np.int64)
        total = 0.0
        for items in reversed(self._items):
            following = self._links.following[items]
            last = following < 0
            picked = chosen[np.where(last, 0, following)]
            starts = np.where(last, self._choices.starts[:-1][items], self._links.first[picked])
            ends = np.where(last, self._choices.starts[1:][items], self._links.end[picked])
            if (ends <= starts).any():
                return chosen, -np.inf
            chosen[items] = best_in_windows(reached, starts, ends)
            total += float(reached[chosen[items]][last].sum())
        return chosen, total

    def broken(self) -> Int64Array:
        """The first items (by number) of the chains that have no choices that go together."""
        reached = np.zeros(len(self._choices.prices))
        for step in self._steps:
            table = _maxima(reached[step.before], step.n_levels)
            reached[step.here] += np.maximum(table[step.left], table[step.right])
            reached[step.barred] = -np.inf
        best = np.maximum.reduceat(reached, self._choices.starts[:-1])
        return np.unique(self._links.chain[np.isneginf(best)])


def _maxima(values: Float64Array, n_levels: int) -> Float64Array:
    """Row l of the table (flattened) holds the maxima of 2 ** l values from each place on; its tail
    means nothing."""
    table = np.empty((n_levels, len(values)))
    table[0] = values
    for level in range(1, n_levels):
        half = 1 << (level - 1)
        table[level] = table[level - 1]
        np.maximum(table[level - 1, :-half], table[level - 1, half:], out=table[level, :-half])
    return table.ravel()
