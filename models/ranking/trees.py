"""Trees of a LightGBM booster in flat arrays, walked by compiled code.

The scores are those of `Booster.predict` to the bit, in less than half of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
import numpy.typing as npt

from features.contracts.errors import BadInput

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

_CATEGORICAL, _NAN_LEFT = 1, 2  # bits of a node's decision_type
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2  # its third and fourth bit


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees, one tree after another: its inner nodes, then its leaves, which lead to themselves.

    root, depth   int32 (trees,), the first node, and the steps from it to the farthest leaf
    feature       int32 (nodes,), the column looked at
    threshold     float32 (nodes,), up to it left; rounded down, so that every float32 goes where LightGBM sends it
    nan_right     bool (nodes,), where a missing value goes
    children      int32 (nodes, 2), left and right
    values        float64 (nodes,), of leaves; 0 elsewhere
    """

    root: npt.NDArray[np.int32]
    depth: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Floats
    nan_right: npt.NDArray[np.bool_]
    children: npt.NDArray[np.int32]
    values: Scores

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `Booster.model_to_string()`; BadInput where a node splits a categorical column or takes 0 as missing."""
        trees = [_Tree.parse(block) for block in text.split("\nTree=")[1:]]
        sizes = [len(tree.values) for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        return cls(
            roots,
            np.array([tree.depth() for tree in trees], np.int32),
            np.concatenate([tree.feature for tree in trees]),
            _rounded_down(np.concatenate([tree.threshold for tree in trees])),
            np.concatenate([tree.nan_right for tree in trees]),
            np.concatenate([root + tree.children for root, tree in zip(roots, trees, strict=True)]).astype(np.int32),
            np.concatenate([tree.values for tree in trees]),
        )

    @property
    def n(self) -> int:
        """How many trees there are."""
        return len(self.root)

    def add(self, matrix: Floats, scores: Scores, start: int, end: int) -> None:
        """Adds what the trees from `start` to before `end` say of the rows of `matrix` (n, columns) to `scores`."""
        table = self.feature, self.threshold, self.nan_right, self.children, self.values
        _walk(np.ascontiguousarray(matrix, np.float32), scores, self.root[start:end], self.depth[start:end], *table)


@dataclass(frozen=True)
class _Tree:
    """The same for one tree, whose root is 0; thresholds as LightGBM has them."""

    feature: npt.NDArray[np.int32]
    threshold: Scores
    nan_right: npt.NDArray[np.bool_]
    children: npt.NDArray[np.int64]
    values: Scores

    @classmethod
    def parse(cls, block: str) -> Self:
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

        def numbers(name: str, kind: type) -> npt.NDArray[Any]:
            return np.array(fields.get(name, "").split(), kind)

        kinds, threshold = numbers("decision_type", np.int32), numbers("threshold", np.float64)
        missing = kinds >> 2
        if ((kinds & _CATEGORICAL) > 0).any() or (missing == _MISSING_IS_ZERO).any():
            raise BadInput("a tree splits a categorical column, or takes 0 as missing", where="the ranker")
        # Where no value was missing in training, a missing one counts as 0.
        nan_right = np.where(missing == _MISSING_IS_NAN, (kinds & _NAN_LEFT) == 0, threshold < 0)
        leaves = numbers("leaf_value", np.float64)
        n, n_leaves = len(kinds), len(leaves)
        inner = np.stack([numbers("left_child", np.int64), numbers("right_child", np.int64)], axis=1)
        inner = np.where(inner < 0, n + ~inner, inner).reshape(n, 2)
        themselves = np.arange(n, n + n_leaves)
        return cls(
            np.concatenate([numbers("split_feature", np.int32), np.zeros(n_leaves, np.int32)]),
            np.concatenate([threshold, np.full(n_leaves, np.inf)]),
            np.concatenate([nan_right, np.zeros(n_leaves, bool)]),
            np.concatenate([inner, np.stack([themselves, themselves], axis=1)]),
            np.concatenate([np.zeros(n), leaves]),
        )

    def depth(self) -> int:
        """Steps from the root to the farthest leaf."""
        level, steps = {0}, 0
        while True:
            level = {int(child) for node in level for child in self.children[node] if child != node}
            if not level:
                return steps
            steps += 1


@numba.njit(cache=True, nogil=True)
def _walk(matrix, scores, root, depth, feature, threshold, nan_right, children, values):  # type: ignore[no-untyped-def]
    """A block of rows goes down each tree in step and without a branch, so that the steps of different rows overlap.

    Each row's sum is in the order of the trees, as LightGBM's.
    """
    size = 32
    node = np.empty(size, np.int32)
    for first in range(0, len(scores), size):
        n = min(size, len(scores) - first)
        for tree in range(len(root)):
            node[:n] = root[tree]
            for _ in range(depth[tree]):
                for row in range(n):
                    at = node[row]
                    value = matrix[first + row, feature[at]]
                    right = (value > threshold[at]) | ((value != value) & nan_right[at])
                    node[row] = children[at, int(right)]
            for row in range(n):
                scores[first + row] += values[node[row]]


def _rounded_down(exact: Scores) -> Floats:
    """The largest float32 that is no larger."""
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
