"""Training examples of the networks: segments of visitors' steps, and pairs of a state in a segment
and an item to predict.

B  segments in the batch    T  steps    U  states that predict something    P  pairs
K  negatives                L  lines: one for each item of each step
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array
from models.retrieval.steps import Segment, Steps

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Examples:
    """Steps, and which of their lines are to be predicted.

    first_meetings   per visitor the items met, ascending, and the step at which each was met first
    is_target        (L,) whether the item of the line is to be predicted
    """

    steps: Steps
    first_meetings: list[tuple[Int64Array, Int64Array]]
    is_target: BoolArray

    @classmethod
    def from_steps(cls, steps: Steps, targets: str) -> Examples:
        """With targets "new" only the first meeting of a visitor and an item is predicted."""
        first_meetings, is_target = [], np.full(len(steps.items), targets == "all")
        for first, end in zip(steps.starts[:-1].tolist(), steps.starts[1:].tolist(), strict=True):
            items, step = steps.list_lines(first, end)
            met, line = np.unique(items, return_index=True)
            first_meetings.append((met, step[line] + first))
            is_target[steps.item_starts[first] + line] = True
        return cls(steps, first_meetings, is_target)

    def find_first_meetings(
        self, segments: list[Segment], items: Int64Array, n_items: int
    ) -> Int64Array:
        """Return the step (B, K) at which the visitor of each segment met each of `items` first,
        NEVER where they did not meet."""
        step_of_item = np.full(n_items, NEVER)
        table = np.empty((len(segments), len(items)), np.int64)
        for row, (first, _) in enumerate(segments):
            visitor = int(np.searchsorted(self.steps.starts, first, side="right")) - 1
            met, step = self.first_meetings[visitor]
            step_of_item[met] = step
            table[row] = step_of_item[items]
            step_of_item[met] = NEVER
        return table


@dataclass(frozen=True)
class Pairs:
    """The states and items to predict in a batch.

    state   (U,) index of the state among the B * T
    row     (U,) its row in the batch
    step    (U,) the step that it predicts
    pair    (P,) index in `state`
    item    (P,) the item to predict
    """

    state: Int64Array
    row: Int64Array
    step: Int64Array
    pair: Int64Array
    item: Int64Array

    @classmethod
    def from_segments(cls, examples: Examples, segments: list[Segment], n_steps: int) -> Pairs:
        """Pair the state after each step of a segment with the items of the step that follows it,
        so that no step predicts an item of its own."""
        steps, parts = examples.steps, []
        for row, (first, end) in enumerate(segments):
            items, index = steps.list_lines(first + 1, end)
            lines = slice(steps.item_starts[first + 1], steps.item_starts[end])
            is_target = examples.is_target[lines]
            items, index = items[is_target], index[is_target]
            rows = np.full(len(index), row)
            parts.append(np.stack([row * n_steps + index, rows, first + 1 + index, items]))
        flat, rows, step, item = np.concatenate(parts, axis=1)
        state, example, pair = np.unique(flat, return_index=True, return_inverse=True)
        return cls(state, rows[example], step[example], pair, item)


def cut_segments(steps: Steps, n_steps: int, rng: np.random.Generator) -> list[Segment]:
    """Cut every visitor's steps at random into segments of `n_steps` and one more to predict.

    The segments of all visitors are shuffled.
    """
    segments = []
    for first, last in zip(steps.starts[:-1].tolist(), steps.starts[1:].tolist(), strict=True):
        end = last if last - first <= n_steps + 1 else last - int(rng.integers(0, n_steps // 2 + 1))
        while end - first >= 2:
            segments.append((max(first, end - n_steps - 1), end))
            end -= n_steps
    return [segments[index] for index in rng.permutation(len(segments))]
