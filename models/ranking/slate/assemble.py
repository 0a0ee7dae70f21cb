"""The slate, rank by rank: pins, caps by group, diversity, exploration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.errors import BadInput
from models.ranking.slate.diversity import CategorySimilarity


@dataclass(frozen=True)
class Exploration:
    """How much of a slate is drawn at random to learn; nothing by default.

    places      the last so many ranks are drawn
    share       every other rank is drawn with this chance
    pool        from so many of the next candidates
    arrivals    and from so many of the newest items, which no ranker can know yet

    Items that were seen and sold little have the better chance: the weight of an item is the root
    of its relevance over 1 + ln(1 + views and orders of the week). Each rank is one Plackett-Luce
    draw, so its probability is known.
    """

    places: int = 0
    share: float = 0.0
    pool: int = 50
    arrivals: int = 10

    def __post_init__(self) -> None:
        if self.places < 0 or not 0 <= self.share <= 1 or self.pool < 1 or self.arrivals < 0:
            raise BadInput(
                "places and arrivals are at least 0, share in 0..1, pool at least 1",
                where="exploration",
            )

    @property
    def on(self) -> bool:
        """Whether any rank is drawn."""
        return self.places > 0 or self.share > 0


@dataclass(frozen=True)
class Cap:
    """At most `n` items of each group.

    group   (n_candidates,), -1 for a candidate that does not count
    """

    group: Int64Array
    n: int


class Choice(NamedTuple):
    """The candidate at one rank.

    propensity   its chance at this rank, given the ranks before
    explored     whether it was drawn, and is not the best one
    """

    row: int
    propensity: float
    explored: bool = False


@dataclass(frozen=True)
class SlatePlan:
    """How to fill a slate from candidates, best first; arrays are aligned with them.

    relevance    falls
    pins         rank -> candidate; a pin beyond the last rank is none
    usual        candidates that may be chosen without exploration; None: all
    similarity   needed with diversity above 0
    weights      needed with exploration; 0 for candidates that are not drawn
    """

    relevance: Float64Array
    pins: Mapping[int, int] = field(default_factory=dict)
    caps: Sequence[Cap] = ()
    usual: BoolArray | None = None
    diversity: float = 0.0
    similarity: CategorySimilarity | None = None
    exploration: Exploration = field(default_factory=Exploration)
    weights: Float64Array | None = None


def fill_slate(plan: SlatePlan, count: int, rng: np.random.Generator | None = None) -> list[Choice]:
    """Choose a candidate for each of `count` ranks, or fewer where candidates or caps end.

    A rank without a pin gets the candidate with the highest (1 - diversity) * relevance - diversity
    * similarity to the most similar one chosen before (maximal marginal relevance, Carbonell and
    Goldstein 1998). With `rng` some ranks are drawn instead.
    """
    n = len(plan.relevance)
    pinned = {rank: row for rank, row in plan.pins.items() if rank <= count}
    left = np.ones(n, bool)
    left[list(pinned.values())] = False
    caps = _OpenCaps(plan.caps, n, pinned.values())
    usual = np.ones(n, bool) if plan.usual is None else plan.usual
    max_similarity = np.zeros(n)
    slate: list[Choice] = []
    for rank in range(1, count + 1):
        if rank in pinned:
            choice = Choice(pinned.pop(rank), 1.0)
        else:
            available = _Available(left & caps.open, usual, max_similarity)
            chance = _exploration_chance(plan.exploration, rank, count, rng)
            next_choice = _choose(plan, available, chance, rng)
            if next_choice is None:
                break
            choice = next_choice
            left[choice.row] = False
            caps.count(choice.row)
        slate.append(choice)
        if plan.diversity and plan.similarity is not None:
            max_similarity = np.maximum(max_similarity, plan.similarity.to_item(choice.row))
    # In a slate that ended early the remaining pins come last.
    slate += [Choice(row, 1.0) for _, row in sorted(pinned.items())]
    return slate


class _Available(NamedTuple):
    """The candidates for one rank.

    free             neither chosen before nor in a full group
    usual            as in SlatePlan
    max_similarity   to the most similar candidate chosen before
    """

    free: BoolArray
    usual: BoolArray
    max_similarity: Float64Array


def _choose(
    plan: SlatePlan, available: _Available, chance: float, rng: np.random.Generator | None
) -> Choice | None:
    """Choose the best candidate, or with `chance` draw one; None where none is left."""
    free, usual = available.free, available.usual
    best = _best_row(plan, free & usual, available.max_similarity)
    if chance <= 0 or rng is None or plan.weights is None:
        return None if best is None else Choice(best, 1.0)
    pool = np.flatnonzero(free & usual)[: plan.exploration.pool]
    pool = np.concatenate([pool, np.flatnonzero(free & ~usual)])
    pool = pool[plan.weights[pool] > 0]
    if not len(pool):
        return None if best is None else Choice(best, 1.0)
    weights = plan.weights[pool] / plan.weights[pool].sum()
    chance = 1.0 if best is None else chance
    row = best
    if row is None or rng.random() < chance:
        drawn = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
        row = int(pool[min(drawn, len(pool) - 1)])
    draw_chance = float(weights[pool == row].sum())
    propensity = min(1.0, chance * draw_chance + (1.0 - chance) * (row == best))
    return Choice(row, propensity, explored=row != best)


def _best_row(plan: SlatePlan, free: BoolArray, max_similarity: Float64Array) -> int | None:
    rows = np.flatnonzero(free)
    if not len(rows):
        return None
    if not plan.diversity:
        return int(rows[0])
    value = (1 - plan.diversity) * plan.relevance[rows] - plan.diversity * max_similarity[rows]
    return int(rows[np.argmax(value)])


def _exploration_chance(
    exploration: Exploration, rank: int, count: int, rng: np.random.Generator | None
) -> float:
    if rng is None:
        return 0.0
    return 1.0 if rank > count - exploration.places else exploration.share


class _OpenCaps:
    """Which candidates are in no full group; `open` (n_candidates,)."""

    def __init__(self, caps: Sequence[Cap], n: int, pinned: Iterable[int]) -> None:
        self._caps = caps
        self._counts: list[dict[int, int]] = [{} for _ in caps]
        self.open = np.ones(n, bool)
        for cap in caps:
            if cap.n == 0:
                self.open &= cap.group < 0
        for row in pinned:
            self.count(row)

    def count(self, row: int) -> None:
        """Count a chosen candidate in its groups."""
        for cap, counts in zip(self._caps, self._counts, strict=True):
            group = int(cap.group[row])
            if group < 0:
                continue
            counts[group] = counts.get(group, 0) + 1
            if counts[group] >= cap.n:
                self.open &= cap.group != group
