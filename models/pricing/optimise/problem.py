"""The optimiser's problem in flat arrays: one price per item, limits on sums, orders in chains.

n   items; the first items of all chains come before the second ones, and so on
N   choices of all items together; item i's are starts[i]:starts[i + 1], by ascending price
R   rows: one limit on the sum of one group each
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from features.contracts.arrays import Float64Array, Int64Array


@dataclass(frozen=True)
class Choices:
    """The prices that items may have: starts (n + 1,), prices (N,) minor units, value (N,).

    value   objective value of each choice
    """

    starts: Int64Array
    prices: Int64Array
    value: Float64Array

    @cached_property
    def counts(self) -> Int64Array:
        """Choices of each item (n,)."""
        return np.diff(self.starts)

    @cached_property
    def item(self) -> Int64Array:
        """The item of each choice (N,)."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)


@dataclass(frozen=True)
class Links:
    """The chains of items, and which choices of neighbours in a chain are compatible.

    previous     (n,) the item before, -1 for the first of a chain
    first, end   (N,) the choices first:end of the item before that are compatible with each choice;
                 unused for the first of a chain
    """

    previous: Int64Array
    first: Int64Array
    end: Int64Array

    @cached_property
    def depth(self) -> Int64Array:
        """Index within the chain (n,), from 0."""
        depth = np.zeros(len(self.previous), np.int64)
        for item in np.flatnonzero(self.previous >= 0):
            depth[item] = depth[self.previous[item]] + 1
        return depth

    @cached_property
    def following(self) -> Int64Array:
        """The item after (n,), -1 for the last of a chain."""
        following = np.full(len(self.previous), -1, np.int64)
        linked = np.flatnonzero(self.previous >= 0)
        following[self.previous[linked]] = linked
        return following

    @cached_property
    def chain(self) -> Int64Array:
        """The first item of each item's chain (n,)."""
        chain = np.arange(len(self.previous))
        for depth in range(1, int(self.depth.max(initial=0)) + 1):
            items = np.flatnonzero(self.depth == depth)
            chain[items] = chain[self.previous[items]]
        return chain


@dataclass(frozen=True)
class Limit:
    """A linear constraint: the selected choices' amounts sum to `least` or more in every group.

    group    (n,) the group of each item, -1 for none
    amount   (N,) of each choice
    least    (groups,)
    """

    rule: str
    group: Int64Array
    amount: Float64Array
    least: Float64Array


@dataclass(frozen=True)
class Problem:
    """Choices, links and limits. A selection (n,) is one choice per item."""

    choices: Choices
    links: Links
    limits: tuple[Limit, ...]

    @cached_property
    def least(self) -> Float64Array:
        """The required sum of each row (R,)."""
        if not self.limits:
            return np.zeros(0)
        return np.concatenate([limit.least for limit in self.limits])

    @cached_property
    def rows(self) -> list[Int64Array]:
        """By limit, the row of each item (n,); R for items in none of its groups."""
        offsets = np.cumsum([0, *(len(limit.least) for limit in self.limits)])
        n_rows = int(offsets[-1])
        return [
            np.where(limit.group >= 0, limit.group + offset, n_rows)
            for limit, offset in zip(self.limits, offsets[:-1], strict=True)
        ]

    @cached_property
    def _covers_all_items(self) -> list[bool]:
        """By limit, whether it has one row that holds all items."""
        return [len(limit.least) == 1 and bool((limit.group == 0).all()) for limit in self.limits]

    @cached_property
    def scale(self) -> Float64Array:
        """The range of each row's sum over all selections (R,), never 0."""
        spans = np.zeros(len(self.least) + 1)
        for limit, rows in zip(self.limits, self.rows, strict=True):
            np.add.at(spans, rows, _compute_spans(limit.amount, self.choices.starts))
        return np.maximum(spans[:-1], 1e-9 * np.maximum(np.abs(self.least), 1))

    @cached_property
    def value_scale(self) -> float:
        """The range of the total value over all selections, never 0."""
        return max(float(_compute_spans(self.choices.value, self.choices.starts).sum()), 1e-9)

    def compute_slack(self, selection: Int64Array) -> Float64Array:
        """Return each row's sum less what it must be (R,); negative where it falls short."""
        sums = np.zeros(len(self.least) + 1)
        for limit, rows in zip(self.limits, self.rows, strict=True):
            sums += np.bincount(rows, limit.amount[selection], len(sums))
        return sums[:-1] - self.least

    def total_value(self, selection: Int64Array) -> float:
        """Return the total objective value of a selection."""
        return float(self.choices.value[selection].sum())

    def lagrangian_scores(self, multipliers: Float64Array) -> Float64Array:
        """Return each choice's value plus its amounts at the multipliers of its rows (N,).

        `multipliers` (R,), one per row.
        """
        scores = self.choices.value.copy()
        padded = np.append(multipliers, 0.0)
        for limit, rows, covers_all in zip(
            self.limits, self.rows, self._covers_all_items, strict=True
        ):
            if covers_all:
                scores += padded[rows[0]] * limit.amount
                continue
            of_item = padded[rows]
            if of_item.any():
                scores += np.repeat(of_item, self.choices.counts) * limit.amount
        return scores


def expand_windows(starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return all indices of starts[i]:ends[i], window after window, and each window's offset there.

    >>> [indices.tolist() for indices in expand_windows(np.array([3, 8]), np.array([5, 9]))]
    [[3, 4, 8], [0, 2]]
    """
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum())), offsets


def argmax_in_windows(values: Float64Array, starts: Int64Array, ends: Int64Array) -> Int64Array:
    """Return the index of the first maximum of `values` in each window; windows are not empty."""
    indices, offsets = expand_windows(starts, ends)
    window_values = values[indices]
    maxima = np.maximum.reduceat(window_values, offsets)
    lengths = ends - starts
    hits = np.flatnonzero(window_values == np.repeat(maxima, lengths))
    window_of_hit = np.repeat(np.arange(len(starts)), lengths)[hits]
    first_hits = np.searchsorted(window_of_hit, np.arange(len(starts)))
    return np.asarray(indices[hits[first_hits]])


def flatten_ladders(ladders: Sequence[Sequence[int]]) -> tuple[Int64Array, Int64Array]:
    """Return starts (n + 1,) and prices (N,) of one ladder per item."""
    counts = np.fromiter(map(len, ladders), np.int64, len(ladders))
    starts = np.concatenate([[0], np.cumsum(counts)])
    prices = np.fromiter(chain.from_iterable(ladders), np.int64, int(starts[-1]))
    return starts, prices


def _compute_spans(values: Float64Array, starts: Int64Array) -> Float64Array:
    """Return each item's largest less smallest value (n,)."""
    if not len(values):
        return np.zeros(0)
    return np.asarray(
        np.maximum.reduceat(values, starts[:-1]) - np.minimum.reduceat(values, starts[:-1])
    )
