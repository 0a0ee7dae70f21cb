"""Visitors' steps as a network reads them: known items only, cut in pieces, padded into batches.
Numpy alone.

B  visitors in the batch    T  steps of the longest    N  items with a vector    L  lines: item ×
   step
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.contracts.arrays import AnyArray, BoolArray, Float32Array, Int64Array, ObjectArray
from features.contracts.sequences import Event, Sequences, as_sequences
from models.retrieval.interactions import find_positions

SECONDS_PER_HOUR = 3600
SECONDS_PER_WEEK = 7 * 24 * 3600
N_GAPS = 16
POPULARITY_WEEKS = 4


@dataclass(frozen=True)
class LoopConfig:
    """How a network is trained.

    `targets`: foretell all items of the next step, or those new to the visitor. Vectors are learnt
    for the `n_items` items that most visitors met, each met by `min_visitors`. Early stopping looks
    at the last `validation_weeks` and gives up after `patience` epochs without progress; then the
    network is trained anew on everything, for as many epochs as were best. 0 `validation_weeks`
    train for `n_epochs`.
    """

    targets: Literal["new", "all"] = "new"
    n_items: int = 8000
    min_visitors: int = 3
    max_steps: int = 64
    n_epochs: int = 5
    batch_visitors: int = 16
    n_negatives: int = 512
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    validation_weeks: int = 4
    patience: int = 2
    n_threads: int = 1


@dataclass(frozen=True)
class Steps:
    """Steps of visitors whose items are positions in a model's own item list.

    starts (n_visitors + 1,), at (n_steps,), kind (n_steps,), item_starts (n_steps + 1,), items
    (L,): as in `Sequences`
    """

    starts: Int64Array
    at: Int64Array
    kind: Int64Array
    item_starts: Int64Array
    items: Int64Array

    @classmethod
    def of(cls, sequences: Sequences, item_ids: ObjectArray) -> Steps:
        """Lines of other items are dropped; their steps stay, as something that happened then."""
        index = {item_id: place for place, item_id in enumerate(item_ids)}
        items = find_positions(index, sequences.item_ids)[sequences.items]
        known = items >= 0
        step_of_line = np.repeat(np.arange(len(sequences.at)), np.diff(sequences.item_starts))
        sizes = np.bincount(step_of_line[known], minlength=len(sequences.at))
        return cls(
            sequences.starts,
            sequences.at,
            sequences.kind.astype(np.int64),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            items[known],
        )

    def before(self, second: int) -> Steps:
        """What occurred before `second`; visitors keep their places, some without a step."""
        kept = self.at < second
        sizes = np.diff(self.item_starts)
        return Steps(
            np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)[self.starts],
            self.at[kept],
            self.kind[kept],
            np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64),
            self.items[np.repeat(kept, sizes)],
        )

    def lines(self, first: int, last: int) -> tuple[Int64Array, Int64Array]:
        """The items of steps `first` to `last`, and for each the step, counted from `first`."""
        sizes = np.diff(self.item_starts[first : last + 1])
        return self.items[self.item_starts[first] : self.item_starts[last]], np.repeat(
            np.arange(len(sizes)), sizes
        )


@dataclass(frozen=True)
class Batch:
    """Padded steps.

    items, offsets   (L,), (B * T + 1,): the items of step (b, t) are items[offsets[b * T +
                     t]:offsets[b * T + t + 1]]
    kind, gap        (B, T): kind of each step, and bucket of the time since the step before it
    hours            (B, T): time of each step in hours, rising; only differences mean something
    valid            (B, T): false where padded
    """

    items: Int64Array
    offsets: Int64Array
    kind: Int64Array
    gap: Int64Array
    hours: Float32Array
    valid: BoolArray


def batch_of(steps: Steps, pieces: Sequence[tuple[int, int]]) -> Batch:
    """One row a piece; a piece is the steps from its first to before its second number."""
    n_rows, n_steps = len(pieces), max([last - first for first, last in pieces], default=0)
    shape = (n_rows, n_steps)
    kind, valid, seconds = (
        np.zeros(shape, np.int64),
        np.zeros(shape, bool),
        np.zeros(shape, np.int64),
    )
    sizes, items = np.zeros(shape, np.int64), []
    for row, (first, last) in enumerate(pieces):
        length = last - first
        valid[row, :length] = True
        kind[row, :length] = steps.kind[first:last]
        if length:
            seconds[row] = steps.at[last - 1] - steps.at[first]
            seconds[row, :length] = steps.at[first:last] - steps.at[first]
        sizes[row, :length] = np.diff(steps.item_starts[first : last + 1])
        items.append(steps.items[steps.item_starts[first] : steps.item_starts[last]])
    gap = np.zeros(shape, np.int64)
    if n_steps > 1:
        gap[:, 1:] = gaps(np.diff(seconds, axis=1) / SECONDS_PER_HOUR)
    offsets = np.concatenate([[0], np.cumsum(sizes.ravel())]).astype(np.int64)
    flat = np.concatenate(items) if items else np.zeros(0, np.int64)
    return Batch(flat, offsets, kind, gap, (seconds / SECONDS_PER_HOUR).astype(np.float32), valid)


def gaps(hours: AnyArray) -> Int64Array:
    """Bucket of a time: 1 is under an hour, each next one twice as long, N_GAPS - 1 all that is
    longer."""
    doublings = np.floor(np.log2(np.maximum(hours, 0.5))).astype(np.int64)
    return np.asarray(np.clip(doublings + 2, 1, N_GAPS - 1), np.int64)


def latest(steps: Steps, n_steps: int) -> list[tuple[int, int]]:
    """The piece of the last `n_steps` steps of every visitor."""
    return [
        (max(first, last - n_steps), last)
        for first, last in zip(steps.starts[:-1], steps.starts[1:], strict=True)
    ]


def steps_of(
    visitors: Sequence[Sequence[Event]], item_ids: ObjectArray
) -> tuple[Steps, Int64Array]:
    """Steps of the visitors who did anything, and their places in the order given."""
    sequences = as_sequences(visitors)
    places = (
        sequences.visitor_ids.astype(np.int64) if sequences.n_visitors else np.zeros(0, np.int64)
    )
    return Steps.of(sequences, item_ids), places


def popularity(steps: Steps, n_items: int, now: int, n_weeks: int) -> Float32Array:
    """log(1 + steps that held the item) in the POPULARITY_WEEKS weeks up to `now` less 0, 1, 2...
    weeks: (n_weeks, N).

    Scaled so that the most popular item of a row has 1.
    """
    times = np.repeat(steps.at, np.diff(steps.item_starts))
    weeks_ago = (now - 1 - times) // SECONDS_PER_WEEK
    table = np.zeros((n_weeks, n_items), np.float32)
    for week in range(n_weeks):
        inside = (weeks_ago >= week) & (weeks_ago < week + POPULARITY_WEEKS)
        table[week] = np.log1p(np.bincount(steps.items[inside], minlength=n_items))
    return np.asarray(table / np.maximum(table.max(axis=1, keepdims=True), 1e-9), np.float32)


def most_met(sequences: Sequences, config: LoopConfig) -> ObjectArray:
    """The ids of the items that get a vector, ascending; all of them where none was met by enough
    visitors."""
    visitor_of_step = np.repeat(np.arange(sequences.n_visitors), np.diff(sequences.starts))
    visitor = np.repeat(visitor_of_step, np.diff(sequences.item_starts))
    n_items = len(sequences.item_ids)
    pairs = np.unique(visitor * n_items + sequences.items)
    n_visitors = np.bincount(pairs % n_items, minlength=n_items)
    kept = np.argsort(-n_visitors, kind="stable")[: config.n_items]
    often = kept[n_visitors[kept] >= config.min_visitors]
    return sequences.item_ids[np.sort(often if len(often) else kept)]


def shares(logits: Float32Array) -> Float32Array:
    """Softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
