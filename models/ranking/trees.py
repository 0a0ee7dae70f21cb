"""A LightGBM booster's text, parsed into the trees that compiled code scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

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
from models.compiled.tree_scoring import MAX_LEAVES, Trees, order_as_integers

_CATEGORICAL, _NAN_LEFT = 1, 2  # bits of a node's decision_type
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2  # its third and fourth bit


def parse_feature_names(text: str) -> tuple[str, ...]:
    """Return the names of the columns of a booster's text. Raises BadInput where it has none."""
    for line in text.split("\nTree=", 1)[0].splitlines():
        if line.startswith("feature_names="):
            return tuple(line.removeprefix("feature_names=").split(" "))
    raise BadInput("this is no LightGBM model: it names no features", where="the ranker")


def parse_trees(text: str, start: int = 0, end: int | None = None) -> Trees:
    """Return the trees from `start` to before `end` of `Booster.model_to_string()`.

    BadInput where a node splits a categorical column or takes 0 as missing, or a tree has more than
    MAX_LEAVES.
    """
    trees = [_ParsedTree.parse(block) for block in text.split("\nTree=")[1:][start:end]]
    test_lists = _concatenate([2 * tree.column + tree.nan_right for tree in trees], np.int32)
    thresholds = _round_down(_concatenate([tree.threshold for tree in trees], np.float64))
    tree_index = np.repeat(
        np.arange(len(trees), dtype=np.int32), [len(tree.column) for tree in trees]
    )
    right_leaves = _concatenate([tree.right_leaves for tree in trees], np.uint64)
    leaf_values = np.zeros((len(trees), max((len(tree.values) for tree in trees), default=0)))
    for row, tree in zip(leaf_values, trees, strict=True):
        row[: len(tree.values)] = tree.values
    order = np.lexsort((thresholds, test_lists))
    n_lists = test_lists.max(initial=-1) + 1
    return Trees(
        first_tests=np.searchsorted(test_lists[order], np.arange(n_lists + 1)).astype(np.int32),
        thresholds=order_as_integers(thresholds[order].view(np.int32), 0).astype(np.int32),
        tree_index=tree_index[order],
        right_leaves=right_leaves[order],
        leaf_values=leaf_values,
    )


@dataclass(frozen=True)
class _ParsedTree:
    """The tests of one tree, thresholds as LightGBM has them, and its leaves from left to right.

    column         int32 (tests,), the column that the test compares
    threshold      float64 (tests,)
    nan_right      (tests,), whether a missing value goes right
    right_leaves   uint64 (tests,), as in Trees
    values         float64 (leaves,)
    """

    column: Int32Array
    threshold: Float64Array
    nan_right: BoolArray
    right_leaves: UInt64Array
    values: Float64Array

    @classmethod
    def parse(cls, block: str) -> Self:
        """Read the lines of one tree."""
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
        left_leaves, order = _list_leaves(children)
        return cls(
            column=numbers("split_feature", np.int32),
            threshold=threshold,
            nan_right=nan_right,
            right_leaves=~np.array(left_leaves, np.uint64),
            values=values[order],
        )


def _list_leaves(children: Int64Array) -> tuple[list[int], list[int]]:
    """Return per inner node the leaves to its left as bits, and the leaves from left to right.

    children   (inner nodes, 2); a leaf is named -1 - leaf
    """
    left_leaves = [0] * len(children)
    order: list[int] = []

    def visit(node: int) -> int:
        if node < 0:
            order.append(-1 - node)
            return 1 << (len(order) - 1)
        left_leaves[node] = visit(int(children[node, 0]))
        return left_leaves[node] | visit(int(children[node, 1]))

    visit(0 if len(children) else -1)
    return left_leaves, order


def _concatenate(parts: list[AnyArray], kind: type) -> AnyArray:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)


def _round_down(exact: Float64Array) -> Float32Array:
    """Return the largest float32 that is no larger."""
    nearest = exact.astype(np.float32)
    return np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
