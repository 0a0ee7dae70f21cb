"""Visitors' steps as input of a network: known items only, cut into segments, padded into batches.

Numpy alone. A step is all that a visitor did in one way at one instant (`features.contracts.
sequences`); a segment is the steps from its first number to before its second.

B  segments in the batch    T  steps of the longest    N  items with a vector
L  lines: one for each item of each step
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from features.contracts.arrays import AnyArray, BoolArray, Float32Array, Int64Array, ObjectArray
from features.contracts.sequences import Event, Sequences, build_sequences
from models.retrieval.interactions import find_positions

SECONDS_PER_HOUR = 3600
SECONDS_PER_WEEK = 7 * 24 * 3600
N_GAPS = 16
POPULARITY_WEEKS = 4
Segment = tuple[int, int]


@dataclass(frozen=True)
class LoopConfig:
    """How a network is trained.

    targets            predict all items of the next step, or only those new to the visitor
    n_items            the items that most visitors met have a vector, so many at most
    min_visitors       visitors who met an item that has a vector
    max_steps          steps of a visitor that the network reads, the latest
    n_epochs           at most, and exactly where nothing is validated
    validation_weeks   last weeks by which training stops early; it is then repeated on all data for
                       the best number of epochs. 0: no validation
    patience           epochs without progress after which training stops
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


def _report_nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class NetworkTraining:
    """Time, seed, checkpoints and progress reports of one training.

    now        epoch seconds; the data lie before it
    folder     where checkpoints are kept; None keeps none
    progress   is called with a line after every epoch
    """

    now: int
    seed: int
    folder: Path | None = None
    progress: Callable[[str], None] = _report_nothing


@dataclass(frozen=True)
class Steps:
    """Steps of visitors whose items are positions in a model's own item list.

    starts (n_visitors + 1,), at (n_steps,), kind (n_steps,), item_starts (n_steps + 1,) and
    items (L,) as in `Sequences`
    """

    starts: Int64Array
    at: Int64Array
    kind: Int64Array
    item_starts: Int64Array
    items: Int64Array

    @classmethod
    def from_sequences(cls, sequences: Sequences, item_ids: ObjectArray) -> Steps:
        """Build the steps without lines of items that are not in `item_ids`; every step remains."""
        index = {item_id: position for position, item_id in enumerate(item_ids)}
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

    def select_before(self, second: int) -> Steps:
        """Return the steps before `second`; visitors keep their index, some without a step."""
        is_before = self.at < second
        sizes = np.diff(self.item_starts)
        return Steps(
            np.concatenate([[0], np.cumsum(is_before)]).astype(np.int64)[self.starts],
            self.at[is_before],
            self.kind[is_before],
            np.concatenate([[0], np.cumsum(sizes[is_before])]).astype(np.int64),
            self.items[np.repeat(is_before, sizes)],
        )

    def list_lines(self, first: int, end: int) -> tuple[Int64Array, Int64Array]:
        """Return the items of the steps from `first` to before `end`, and the step of each item,
        counted from `first`."""
        sizes = np.diff(self.item_starts[first : end + 1])
        items = self.items[self.item_starts[first] : self.item_starts[end]]
        return items, np.repeat(np.arange(len(sizes)), sizes)


@dataclass(frozen=True)
class Batch:
    """Padded steps.

    items, offsets   (L,), (B * T + 1,): the items of step (b, t) are items[offsets[b * T + t] :
                     offsets[b * T + t + 1]]
    kind, gap        (B, T): kind of each step, and bucket of the time since the step before it
    hours            (B, T): time of each step in hours, ascending; only differences have a meaning
    valid            (B, T): false where padded
    """

    items: Int64Array
    offsets: Int64Array
    kind: Int64Array
    gap: Int64Array
    hours: Float32Array
    valid: BoolArray


def make_batch(steps: Steps, segments: Sequence[Segment]) -> Batch:
    """Return one row for each segment."""
    n_steps = max([end - first for first, end in segments], default=0)
    shape = (len(segments), n_steps)
    kind, valid = np.zeros(shape, np.int64), np.zeros(shape, bool)
    seconds, sizes = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    items = []
    for row, (first, end) in enumerate(segments):
        length = end - first
        valid[row, :length] = True
        kind[row, :length] = steps.kind[first:end]
        if length:
            seconds[row] = steps.at[end - 1] - steps.at[first]
            seconds[row, :length] = steps.at[first:end] - steps.at[first]
        sizes[row, :length] = np.diff(steps.item_starts[first : end + 1])
        items.append(steps.items[steps.item_starts[first] : steps.item_starts[end]])
    gap = np.zeros(shape, np.int64)
    if n_steps > 1:
        gap[:, 1:] = bucket_times(np.diff(seconds, axis=1) / SECONDS_PER_HOUR)
    return Batch(
        items=np.concatenate(items) if items else np.zeros(0, np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes.ravel())]).astype(np.int64),
        kind=kind,
        gap=gap,
        hours=(seconds / SECONDS_PER_HOUR).astype(np.float32),
        valid=valid,
    )


def bucket_times(hours: AnyArray) -> Int64Array:
    """Return the bucket of each time: 1 is under an hour, each next one is twice as long, and
    N_GAPS - 1 holds all longer times."""
    doublings = np.floor(np.log2(np.maximum(hours, 0.5))).astype(np.int64)
    return np.asarray(np.clip(doublings + 2, 1, N_GAPS - 1), np.int64)


def select_latest(steps: Steps, n_steps: int) -> list[Segment]:
    """Return the segment of the last `n_steps` steps of every visitor."""
    return [
        (max(first, end - n_steps), end)
        for first, end in zip(steps.starts[:-1], steps.starts[1:], strict=True)
    ]


def build_steps(
    visitors: Sequence[Sequence[Event]], item_ids: ObjectArray
) -> tuple[Steps, Int64Array]:
    """Return the steps of the visitors with events, and the index of each in `visitors`."""
    sequences = build_sequences(visitors)
    if not sequences.n_visitors:
        return Steps.from_sequences(sequences, item_ids), np.zeros(0, np.int64)
    return Steps.from_sequences(sequences, item_ids), sequences.visitor_ids.astype(np.int64)


def compute_popularity(steps: Steps, n_items: int, now: int, n_weeks: int) -> Float32Array:
    """Return log(1 + steps with the item) in POPULARITY_WEEKS weeks, (n_weeks, N).

    The weeks of row k end k weeks before `now`. Each row is scaled: its most popular item has 1.
    """
    times = np.repeat(steps.at, np.diff(steps.item_starts))
    weeks_ago = (now - 1 - times) // SECONDS_PER_WEEK
    table = np.zeros((n_weeks, n_items), np.float32)
    for week in range(n_weeks):
        inside = (weeks_ago >= week) & (weeks_ago < week + POPULARITY_WEEKS)
        table[week] = np.log1p(np.bincount(steps.items[inside], minlength=n_items))
    return np.asarray(table / np.maximum(table.max(axis=1, keepdims=True), 1e-9), np.float32)


def select_items(sequences: Sequences, config: LoopConfig) -> ObjectArray:
    """Return the ids of the items that have a vector, ascending.

    Where no item was met by enough visitors, those that most visitors met.
    """
    visitor_of_step = np.repeat(np.arange(sequences.n_visitors), np.diff(sequences.starts))
    visitor = np.repeat(visitor_of_step, np.diff(sequences.item_starts))
    n_items = len(sequences.item_ids)
    pairs = np.unique(visitor * n_items + sequences.items)
    n_visitors = np.bincount(pairs % n_items, minlength=n_items)
    most_met = np.argsort(-n_visitors, kind="stable")[: config.n_items]
    selected = most_met[n_visitors[most_met] >= config.min_visitors]
    return sequences.item_ids[np.sort(selected if len(selected) else most_met)]


def softmax(logits: Float32Array) -> Float32Array:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
