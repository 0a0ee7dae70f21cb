"""The optimiser's problem in flat arrays: which price each item gets, under limits on sums and
orders in chains.

n   items, those that are first in their chain before those that are second, and so on
N   choices of all items together; item i's are starts[i]:starts[i + 1], by ascending price
R   rows: one limit on one sum each
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
    """The prices that items may have, and what each is worth: starts (n + 1,), prices (N,) minor
    units, value (N,)."""

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
    """Who stands before whom in a chain, and which of their choices go together.

    previous     (n,) the item before, -1 for the first of a chain
    first, end   (N,) the choices first:end of the item before that go with each choice; unused for
                 the first of a chain
    """

    previous: Int64Array
    first: Int64Array
    end: Int64Array

    @cached_property
    def depth(self) -> Int64Array:
        """Place in the chain (n,), from 0."""
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
            here = np.flatnonzero(self.depth == depth)
            chain[here] = chain[self.previous[here]]
        return chain


@dataclass(frozen=True)
class Limit:
    """The amounts of the choices taken must add up to at least `least` in every group.

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
    """Choices, links and limits. `rows[k]` (n,) holds the row of each item in limit k, R for
    none."""

    choices: Choices
    links: Links
    limits: tuple[Limit, ...]

    @cached_property
    def least(self) -> Float64Array:
        """What each row asks for (R,)."""
        return (
            np.concatenate([limit.least for limit in self.limits]) if self.limits else np.zeros(0)
        )

    @cached_property
    def rule(self) -> list[int]:
        """The limit of each row (R,)."""
        return [k for k, limit in enumerate(self.limits) for _ in limit.least]

    @cached_property
    def rows(self) -> list[Int64Array]:
        offsets = np.cumsum([0, *(len(limit.least) for limit in self.limits)])
        n_rows = int(offsets[-1])
        return [
            np.where(limit.group >= 0, limit.group + offset, n_rows)
            for limit, offset in zip(self.limits, offsets[:-1], strict=True)
        ]

    @cached_property
    def _together(self) -> list[bool]:
        """Of each limit, whether all items are in its one row."""
        return [len(limit.least) == 1 and bool((limit.group == 0).all()) for limit in self.limits]

    @cached_property
    def scale(self) -> Float64Array:
        """How far each row's sum can move at all (R,), at least a hair of what it asks for."""
        spans = np.zeros(len(self.least) + 1)
        for limit, rows in zip(self.limits, self.rows, strict=True):
            np.add.at(spans, rows, _span(limit.amount, self.choices.starts))
        return np.maximum(spans[:-1], 1e-9 * np.maximum(np.abs(self.least), 1))

    @cached_property
    def value_scale(self) -> float:
        """How far the total value can move at all."""
        return max(float(_span(self.choices.value, self.choices.starts).sum()), 1e-9)

    def slack(self, chosen: Int64Array) -> Float64Array:
        """What each row's sum has to spare (R,), negative where it falls short; `chosen` (n,) is a
        choice per item."""
        sums = np.zeros(len(self.least) + 1)
        for limit, rows in zip(self.limits, self.rows, strict=True):
            sums += np.bincount(rows, limit.amount[chosen], len(sums))
        return sums[:-1] - self.least

    def value(self, chosen: Int64Array) -> float:
        """The total value of a choice per item."""
        return float(self.choices.value[chosen].sum())

    def weighed(self, multipliers: Float64Array) -> Float64Array:
        """The value of each choice (N,) with its amounts priced at `multipliers` (R,)."""
        scores = self.choices.value.copy()
        padded = np.append(multipliers, 0.0)
        for limit, rows, together in zip(self.limits, self.rows, self._together, strict=True):
            if together:
                scores += padded[rows[0]] * limit.amount
                continue
            of_item = padded[rows]
            if of_item.any():
                scores += np.repeat(of_item, self.choices.counts) * limit.amount
        return scores


def unlinked(n_items: int, n_choices: int) -> Links:
    """Links of items that stand alone."""
    return Links(
        np.full(n_items, -1, np.int64), np.zeros(n_choices, np.int64), np.zeros(n_choices, np.int64)
    )


def windows(starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The positions in all of starts[i]:ends[i], one window after the other, and where each window
    begins among them.

    >>> [each.tolist() for each in windows(np.array([3, 8]), np.array([5, 9]))]
    [[3, 4, 8], [0, 2]]
    """
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum())), offsets


def best_in_windows(values: Float64Array, starts: Int64Array, ends: Int64Array) -> Int64Array:
    """The position of the first of the largest values in each window; windows are not empty."""
    positions, offsets = windows(starts, ends)
    inside = values[positions]
    largest = np.maximum.reduceat(inside, offsets)
    lengths = ends - starts
    hits = np.flatnonzero(inside == np.repeat(largest, lengths))
    owner = np.repeat(np.arange(len(starts)), lengths)[hits]
    return np.asarray(positions[hits[np.searchsorted(owner, np.arange(len(starts)))]])


def flat(ladders: Sequence[Sequence[int]]) -> tuple[Int64Array, Int64Array]:
    """Starts (n + 1,) and prices (N,) of one ladder per item."""
    counts = np.fromiter(map(len, ladders), np.int64, len(ladders))
    starts = np.concatenate([[0], np.cumsum(counts)])
    prices = np.fromiter(chain.from_iterable(ladders), np.int64, int(starts[-1]))
    return starts, prices


def _span(values: Float64Array, starts: Int64Array) -> Float64Array:
    """Largest less smallest value of each item (n,)."""
    if not len(values):
        return np.zeros(0)
    return np.asarray(
        np.maximum.reduceat(values, starts[:-1]) - np.minimum.reduceat(values, starts[:-1])
    )
