"""Exact dynamic programme along each chain of items; all chains at once, one depth per step.

The choices of the previous item that are compatible with a choice are a range of its ladder (size
order, equal prices), so that the best of them is a range maximum query: a sparse table of maxima
over powers of two answers it in two look-ups.

Reference: Bender and Farach-Colton, The LCA problem revisited, 2000 (the sparse table).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array
from models.pricing.optimise.problem import Choices, Links, argmax_in_windows


@dataclass(frozen=True)
class _Step:
    """The step from the items of one depth to those of the next.

    previous     slice of the choices of the previous items
    current      slice of the choices of the items themselves
    left, right  two indices into the flat table of maxima, per choice in `current`
    n_levels     levels of that table
    infeasible   choices (N index) that are compatible with none of the previous item
    """

    previous: slice
    current: slice
    left: Int64Array
    right: Int64Array
    n_levels: int
    infeasible: Int64Array


class ChainProgramme:
    """Maximises any scores over selections that respect the chains.

    What does not depend on the scores is computed once, when the programme is made.
    """

    def __init__(self, choices: Choices, links: Links) -> None:
        if (np.diff(links.depth) < 0).any():
            raise ValueError("items must be sorted by their depth in the chain")
        self._choices = choices
        self._links = links
        depths = np.searchsorted(links.depth, np.arange(int(links.depth.max(initial=0)) + 2))
        self._items = [slice(first, end) for first, end in pairwise(depths)]
        choice_slices = [
            slice(int(choices.starts[items.start]), int(choices.starts[items.stop]))
            for items in self._items
        ]
        self._steps = [
            self._build_step(previous, current) for previous, current in pairwise(choice_slices)
        ]

    def _build_step(self, previous: slice, current: slice) -> _Step:
        first = self._links.first[current] - previous.start
        end = self._links.end[current] - previous.start
        lengths = end - first
        infeasible = np.flatnonzero(lengths <= 0)
        first, lengths = np.where(lengths > 0, first, 0), np.maximum(lengths, 1)
        level = np.floor(np.log2(lengths)).astype(np.int64)
        width = previous.stop - previous.start
        right = first + lengths - (1 << level)
        return _Step(
            previous=previous,
            current=current,
            left=level * width + first,
            right=level * width + right,
            n_levels=int(level.max(initial=0)) + 1,
            infeasible=current.start + infeasible,
        )

    def maximise(self, scores: Float64Array) -> tuple[Int64Array, float]:
        """Return the selection (n,) with the largest sum of `scores` (N,), and that sum.

        The sum is -inf when some chain has no compatible choices; the selection is then undefined.
        """
        totals = self._accumulate(scores.copy())
        selection = np.zeros(len(self._links.previous), np.int64)
        total = 0.0
        for items in reversed(self._items):
            following = self._links.following[items]
            is_last = following < 0
            selected_after = selection[np.where(is_last, 0, following)]
            starts = np.where(
                is_last, self._choices.starts[:-1][items], self._links.first[selected_after]
            )
            ends = np.where(
                is_last, self._choices.starts[1:][items], self._links.end[selected_after]
            )
            if (ends <= starts).any():
                return selection, -np.inf
            selection[items] = argmax_in_windows(totals, starts, ends)
            total += float(totals[selection[items]][is_last].sum())
        return selection, total

    def find_infeasible_chains(self) -> Int64Array:
        """Return the first item of each chain that has no compatible choices."""
        totals = self._accumulate(np.zeros(len(self._choices.prices)))
        best = np.maximum.reduceat(totals, self._choices.starts[:-1])
        return np.unique(self._links.chain[np.isneginf(best)])

    def _accumulate(self, totals: Float64Array) -> Float64Array:
        """Add to each choice's score (N,) the best total up to the item before; in place."""
        for step in self._steps:
            table = _build_sparse_table(totals[step.previous], step.n_levels)
            totals[step.current] += np.maximum(table[step.left], table[step.right])
            totals[step.infeasible] = -np.inf
        return totals


def _build_sparse_table(values: Float64Array, n_levels: int) -> Float64Array:
    """Return the table of range maxima, flattened.

    Row l holds the maxima of 2 ** l values from each index on; its tail is undefined.
    """
    table = np.empty((n_levels, len(values)))
    table[0] = values
    for level in range(1, n_levels):
        half = 1 << (level - 1)
        table[level] = table[level - 1]
        np.maximum(table[level - 1, :-half], table[level - 1, half:], out=table[level, :-half])
    return table.ravel()
