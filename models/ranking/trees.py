"""Trees of a LightGBM booster as sorted tests and sets of leaves, scored by compiled code
(QuickScorer).

Lucchese et al., QuickScorer: A Fast Algorithm to Rank Documents with Additive Ensembles of
Regression Trees, SIGIR 2015; eight rows at a time, as in their Exploiting CPU SIMD Extensions to
Speed-up Document Scoring with Tree Ensembles, SIGIR 2016. The scores are those of `Booster.predict`
to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numba
import numpy as np

from features.contracts.arrays import (
    AnyArray,
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    UInt64Array,
)
from features.contracts.errors import BadInput

MAX_LEAVES = 64  # of a tree: a leaf is a bit of a word
_ROWS = 8  # that go through the trees at a time
_ALL = ~np.uint64(0)
_LOWEST, _HIGHEST, _INFINITE = -(2**31), 2**31 - 1, 0x7F800000  # of int32, and the bits of inf

_CATEGORICAL, _NAN_LEFT = 1, 2  # bits of a node's decision_type
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2  # its third and fourth bit


@dataclass(frozen=True)
class Trees:
    """What the inner nodes of all trees test, by column and rising threshold, and the values of the
    leaves.

    A column has two lists of tests: those that send a missing value to the left, and those that
    send it to the right. Numbers are compared as integers of the same order, in which NaN has a
    place: below all others, or above them.

    first       int32 (2 × columns + 1,), the tests of each list: from `first[c]` to before `first[c
                + 1]`
    threshold   int32 (tests,), up to it left; rounded down, so that every float32 goes where
                LightGBM sends it
    tree        int32 (tests,)
    stay        uint64 (tests,), the leaves that a row which goes right can still come to, bit 0 the
                leftmost
    values      float64 (trees, leaves), of the leaves from left to right; 0 behind them
    """

    first: Int32Array
    threshold: Int32Array
    tree: Int32Array
    stay: UInt64Array
    values: Float64Array

    @classmethod
    def parse(cls, text: str, start: int = 0, end: int | None = None) -> Self:
        """The trees from `start` to before `end` of `Booster.model_to_string()`.

        BadInput where a node splits a categorical column or takes 0 as missing, or a tree has more
        than MAX_LEAVES.
        """
        trees = [_Tree.parse(block) for block in text.split("\nTree=")[1:][start:end]]
        lists = _joined([2 * tree.column + tree.nan_right for tree in trees], np.int32)
        threshold = _rounded_down(_joined([tree.threshold for tree in trees], np.float64))
        order = np.lexsort((threshold, lists))
        values = np.zeros((len(trees), max((len(tree.values) for tree in trees), default=0)))
        for row, tree in zip(values, trees, strict=True):
            row[: len(tree.values)] = tree.values
        return cls(
            np.searchsorted(lists[order], np.arange(lists.max(initial=-1) + 2)).astype(np.int32),
            np.array([_key(bits, 0) for bits in threshold[order].view(np.int32)], np.int32),
            np.repeat(np.arange(len(trees), dtype=np.int32), [len(tree.column) for tree in trees])[
                order
            ],
            _joined([tree.stay for tree in trees], np.uint64)[order],
            values,
        )

    @property
    def n(self) -> int:
        """How many trees there are."""
        return len(self.values)

    def add(self, matrix: Float32Array, scores: Float64Array) -> None:
        """Adds what the trees say of the rows of `matrix` (n, columns) to `scores` (n,)."""
        tests = self.first, self.threshold, self.tree, self.stay
        _add(np.ascontiguousarray(matrix, np.float32).view(np.int32), scores, *tests, self.values)


@dataclass(frozen=True)
class _Tree:
    """The tests of one tree, thresholds as LightGBM has them, and its leaves from left to right."""

    column: Int32Array
    threshold: Float64Array
    nan_right: BoolArray
    stay: UInt64Array
    values: Float64Array

    @classmethod
    def parse(cls, block: str) -> Self:
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

        def numbers(name: str, kind: type) -> AnyArray:
            return np.array(fields.get(name, "").split(), kind)

        kinds, threshold = numbers("decision_type", np.int32), numbers("threshold", np.float64)
        missing, values = kinds >> 2, numbers("leaf_value", np.float64)
        if ((kinds & _CATEGORICAL) > 0).any() or (missing == _MISSING_IS_ZERO).any():
            raise BadInput(
                "a tree splits a categorical column, or takes 0 as missing", where="the ranker"
            )
        if len(values) > MAX_LEAVES:
            raise BadInput(
                f"a tree has more than {MAX_LEAVES} leaves",
                where="the ranker",
                hint="Lower n_leaves",
            )
        # Where no value was missing in training, a missing one counts as 0.
        nan_right = np.where(missing == _MISSING_IS_NAN, (kinds & _NAN_LEFT) == 0, threshold < 0)
        children = np.stack(
            [numbers("left_child", np.int64), numbers("right_child", np.int64)], axis=1
        )
        lost, order = _leaves(children)
        stay = ~np.array(lost, np.uint64)
        return cls(numbers("split_feature", np.int32), threshold, nan_right, stay, values[order])


def _leaves(children: Int64Array) -> tuple[list[int], list[int]]:
    """Per inner node the leaves to its left as bits, and the leaves from left to right; -1 - leaf
    is a child's name."""
    lost = [0] * len(children)
    order: list[int] = []

    def down(node: int) -> int:
        if node < 0:
            order.append(-1 - node)
            return 1 << (len(order) - 1)
        lost[node] = down(int(children[node, 0]))
        return lost[node] | down(int(children[node, 1]))

    down(0 if len(children) else -1)
    return lost, order


def _joined(parts: list[AnyArray], kind: type) -> AnyArray:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)


@numba.njit(cache=True, nogil=True)
def _lowest(word):  # type: ignore[no-untyped-def]
    """Which is the lowest bit of `word`: the number of bits below it, in words that compilers
    know."""
    below = (word & (~word + np.uint64(1))) - np.uint64(1)
    below -= (below >> np.uint64(1)) & np.uint64(0x5555555555555555)
    below = (below & np.uint64(0x3333333333333333)) + (
        (below >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    below = (below + (below >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (below * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=True, nogil=True)
def _key(bits, missing):  # type: ignore[no-untyped-def]
    """The bits of a float32 as an integer of the same order; `missing` for NaN."""
    if bits & _HIGHEST > _INFINITE:
        return missing
    return 0 if bits == _LOWEST else bits ^ ((bits >> 31) & _HIGHEST)  # -0 is 0


# All in one loop: a function called inside would cost more than eight rows at a time save.
@numba.njit(cache=True, nogil=True)
def _add(bits, scores, first, threshold, tree, stay, values):  # type: ignore[no-untyped-def]
    """A row leaves in each tree only what its failed tests leave; the leftmost leaf that is left is
    where it ends.

    Each row's sum is in the order of the trees, as LightGBM's.
    """
    n_trees = len(values)
    left = np.empty((n_trees, _ROWS), np.uint64)
    value, sums = np.empty(_ROWS, np.int32), np.empty(_ROWS)
    for start in range(0, len(scores), _ROWS):
        left[:] = _ALL
        n_rows = min(_ROWS, len(scores) - start)
        for tests in range(len(first) - 1):
            if first[tests] == first[tests + 1]:
                continue
            missing, highest = _HIGHEST if tests % 2 else _LOWEST, _LOWEST
            for row in range(_ROWS):  # the last row stands in for those behind it
                value[row] = _key(bits[start + min(row, n_rows - 1), tests // 2], missing)
                highest = max(highest, value[row])
            for test in range(first[tests], first[tests + 1]):
                most, kept = threshold[test], stay[test]
                if highest <= most:
                    break
                of_tree = left[tree[test]]
                for row in range(_ROWS):
                    of_tree[row] &= kept if value[row] > most else _ALL
        sums[:] = 0
        sums[:n_rows] = scores[start : start + n_rows]
        for at in range(n_trees):
            for row in range(_ROWS):
                sums[row] += values[at, _lowest(left[at, row])]
        scores[start : start + n_rows] = sums[:n_rows]


def _rounded_down(exact: Float64Array) -> Float32Array:
    """The largest float32 that is no larger."""
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
