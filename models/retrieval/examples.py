"""What a network learns from: pieces of visitors' steps, and in each the pairs of a state and an
item to foretell.

B  pieces in the batch    T  steps    U  states that foretell something    P  pairs    K  negatives
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts.arrays import BoolArray, Int64Array
from models.retrieval.steps import Steps

NEVER = np.iinfo(np.int64).max
Piece = tuple[int, int]


@dataclass(frozen=True)
class Examples:
    """Steps, the lines of them that are to be foretold, and when each visitor met each item
    first."""

    steps: Steps
    first_met: list[tuple[Int64Array, Int64Array]]
    wanted: BoolArray

    @classmethod
    def of(cls, steps: Steps, targets: str) -> Examples:
        """With targets "new" only the first meeting of a visitor and an item is foretold."""
        first_met, wanted = [], np.full(len(steps.items), targets == "all")
        for first, last in zip(steps.starts[:-1].tolist(), steps.starts[1:].tolist(), strict=True):
            items, step = steps.lines(first, last)
            met, at = np.unique(items, return_index=True)
            first_met.append((met, step[at] + first))
            wanted[steps.item_starts[first] + at] = True
        return cls(steps, first_met, wanted)

    def met_by(self, pieces: list[Piece], items: Int64Array, n_items: int) -> Int64Array:
        """The step at which the visitor of each piece met each of `items` first (B, K), NEVER where
        that did not."""
        whole = np.full(n_items, NEVER)
        table = np.empty((len(pieces), len(items)), np.int64)
        for row, (first, _) in enumerate(pieces):
            visitor = int(np.searchsorted(self.steps.starts, first, side="right")) - 1
            met, step = self.first_met[visitor]
            whole[met] = step
            table[row] = whole[items]
            whole[met] = NEVER
        return table


@dataclass(frozen=True)
class Pairs:
    """What is to be foretold in a batch.

    state (U,) places in B * T; row (U,) their batch rows; step (U,) the steps they foretell
    pair (P,) places in `state`; item (P,) the items to foretell
    """

    state: Int64Array
    row: Int64Array
    step: Int64Array
    pair: Int64Array
    item: Int64Array

    @classmethod
    def of(cls, examples: Examples, pieces: list[Piece], n_steps: int) -> Pairs:
        """The state after each step of a piece foretells the step that follows it, and never one of
        its own items."""
        steps, parts = examples.steps, []
        for row, (first, last) in enumerate(pieces):
            items, at = steps.lines(first + 1, last)
            wanted = examples.wanted[steps.item_starts[first + 1] : steps.item_starts[last]]
            items, at = items[wanted], at[wanted]
            parts.append(
                np.stack([row * n_steps + at, np.full(len(at), row), first + 1 + at, items])
            )
        flat, rows, step, item = np.concatenate(parts, axis=1)
        state, place, pair = np.unique(flat, return_index=True, return_inverse=True)
        return cls(state, rows[place], step[place], pair, item)


def pieces_of(steps: Steps, n_steps: int, rng: np.random.Generator) -> list[Piece]:
    """Every visitor's steps, cut at a random place into pieces of `n_steps` and one more to
    foretell; shuffled."""
    pieces = []
    for first, last in zip(steps.starts[:-1].tolist(), steps.starts[1:].tolist(), strict=True):
        end = last if last - first <= n_steps + 1 else last - int(rng.integers(0, n_steps // 2 + 1))
        while end - first >= 2:
            pieces.append((max(first, end - n_steps - 1), end))
            end -= n_steps
    return [pieces[place] for place in rng.permutation(len(pieces))]
