"""The actions of visitors in order: the input of sequence models.

A *step* is one kind of action of one visitor at one instant: the items of one order, or one viewed
item. Items of a step have no order, so that no part of a basket predicts the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Int8Array, Int32Array, Int64Array, ObjectArray

VIEW, CART, PURCHASE = 0, 1, 2
N_KINDS = 3


class Event(NamedTuple):
    """One recent event of a visitor, known or anonymous; `kind` is VIEW, CART or PURCHASE."""

    item_id: str
    kind: int
    age_seconds: float


@dataclass(frozen=True)
class Sequences:
    """Steps of many visitors; those of visitor k are `starts[k]:starts[k + 1]`, the earliest first.

    visitor_ids   str objects (n_visitors,): user_id, else visitor_id, else session_id
    starts        int64 (n_visitors + 1,)
    at            int64 (n_steps,), epoch seconds
    kind          int8 (n_steps,)
    item_starts   int64 (n_steps + 1,); the items of step s are `items[item_starts[s]:item_starts[s
                  + 1]]`
    items         int32 (n_lines,), positions in `item_ids`, distinct within a step
    item_ids      str objects (n_items,), sorted ascending
    """

    visitor_ids: ObjectArray
    starts: Int64Array
    at: Int64Array
    kind: Int8Array
    item_starts: Int64Array
    items: Int32Array
    item_ids: ObjectArray

    @classmethod
    def from_lines(
        cls,
        visitor_ids: ObjectArray,
        at: Int64Array,
        kind: Int8Array,
        item_ids: ObjectArray,
    ) -> Sequences:
        """Return the sequences of rows visitor × instant × kind × item; repeats count once."""
        visitors, visitor = np.unique(visitor_ids, return_inverse=True)
        known, item = np.unique(item_ids, return_inverse=True)
        rows = np.stack([visitor, at, kind, item], axis=1).astype(np.int64)
        rows = rows[np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0]))]
        changed = np.ones(len(rows), bool)
        changed[1:] = (rows[1:] != rows[:-1]).any(1)
        rows = rows[changed]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:, :3] != rows[:-1, :3]).any(1)
        steps = np.flatnonzero(first)
        n_steps = np.bincount(rows[steps, 0], minlength=len(visitors))
        return cls(
            visitors,
            np.concatenate([[0], np.cumsum(n_steps)]).astype(np.int64),
            rows[steps, 1],
            rows[steps, 2].astype(np.int8),
            np.append(steps, len(rows)).astype(np.int64),
            rows[:, 3].astype(np.int32),
            known,
        )

    @property
    def n_visitors(self) -> int:
        """The number of visitors with at least one step."""
        return len(self.visitor_ids)

    def events(self, visitor: int, now: int) -> list[Event]:
        """Return the events of one visitor, by index, with their age at `now`."""
        return [
            Event(str(self.item_ids[item]), int(self.kind[step]), float(now - self.at[step]))
            for step in range(int(self.starts[visitor]), int(self.starts[visitor + 1]))
            for item in self.items[self.item_starts[step] : self.item_starts[step + 1]]
        ]


def build_sequences(visitors: Iterable[Iterable[Event]]) -> Sequences:
    """Return sequences of the events of visitors, named by their order; now is second 0."""
    rows = [
        (f"{n:09}", -round(age), kind, item)
        for n, events in enumerate(visitors)
        for item, kind, age in events
    ]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return Sequences.from_lines(
        np.array(columns[0], object),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.int8),
        np.array(columns[3], object),
    )
