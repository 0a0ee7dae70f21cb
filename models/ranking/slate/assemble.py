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
    state = _SlateState(plan, count)
    slate: list[Choice] = []
    for rank in range(1, count + 1):
        chance = _exploration_chance(plan.exploration, rank, count) if rng is not None else 0.0
        choice = state.take_pin(rank) or _choose(state.list_chances(chance), rng)
        if choice is None:
            break
        state.take(choice.row)
        slate.append(choice)
    # In a slate that ended early the remaining pins come last.
    slate += [Choice(row, 1.0) for _, row in sorted(state.pinned.items())]
    return slate


def compute_propensities(plan: SlatePlan, rows: Sequence[int], count: int) -> list[float]:
    """Return the probability of each of these candidates at its rank, given the ranks before it.

    The product is the probability that `fill_slate` chooses the slate. After a rank of probability
    0 the ranks are those of a slate that begins as this one all the same.
    """
    state = _SlateState(plan, count)
    propensities = []
    for rank, row in enumerate(rows, 1):
        pin = state.take_pin(rank)
        chances = state.list_chances(_exploration_chance(plan.exploration, rank, count))
        if pin is None and chances.is_empty and state.pinned:
            pin = state.take_pin(min(state.pinned))
        if pin is not None:
            propensities.append(float(pin.row == row))
        else:
            propensities.append(chances.compute_propensity(row))
        state.take(row)
    return propensities


class _Chances(NamedTuple):
    """How the candidate of one rank is chosen.

    best      the best candidate; None where no usual one is left
    pool      the candidates of the draw, with their weights, which sum to 1
    chance    of a draw instead of the best one
    """

    best: int | None
    pool: Int64Array
    weights: Float64Array
    chance: float

    @property
    def is_empty(self) -> bool:
        """Whether no candidate is left."""
        return self.best is None and not len(self.pool)

    def compute_propensity(self, row: int) -> float:
        """Return the probability that this candidate is chosen."""
        draw_chance = float(self.weights[self.pool == row].sum())
        return min(1.0, self.chance * draw_chance + (1.0 - self.chance) * (row == self.best))


_NO_ROWS, _NO_WEIGHTS = np.zeros(0, np.int64), np.zeros(0)


class _SlateState:
    """The candidates that are left, as a slate fills rank by rank.

    pinned             rank -> candidate, of the ranks to come
    """

    def __init__(self, plan: SlatePlan, count: int) -> None:
        n = len(plan.relevance)
        self._plan = plan
        self.pinned = {rank: row for rank, row in plan.pins.items() if rank <= count}
        self._left = np.ones(n, bool)
        self._left[list(self.pinned.values())] = False
        self._caps = _OpenCaps(plan.caps, n, self.pinned.values())
        self._usual = np.ones(n, bool) if plan.usual is None else plan.usual
        self._max_similarity = np.zeros(n)

    def take_pin(self, rank: int) -> Choice | None:
        """Return the pinned candidate of a rank, whose group has counted it already."""
        row = self.pinned.pop(rank, None)
        return None if row is None else Choice(row, 1.0)

    def list_chances(self, chance: float) -> _Chances:
        """Return how the candidate of the next rank is chosen, drawn with `chance`."""
        plan, free = self._plan, self._left & self._caps.open
        best = _best_row(plan, free & self._usual, self._max_similarity)
        if chance <= 0 or plan.weights is None:
            return _Chances(best, _NO_ROWS, _NO_WEIGHTS, 0.0)
        pool = np.flatnonzero(free & self._usual)[: plan.exploration.pool]
        pool = np.concatenate([pool, np.flatnonzero(free & ~self._usual)])
        pool = pool[plan.weights[pool] > 0]
        if not len(pool):
            return _Chances(best, _NO_ROWS, _NO_WEIGHTS, 0.0)
        weights = plan.weights[pool] / plan.weights[pool].sum()
        return _Chances(best, pool, weights, 1.0 if best is None else chance)

    def take(self, row: int) -> None:
        """Take a candidate out of what is left."""
        if self._left[row]:
            self._left[row] = False
            self._caps.count(row)
        if self._plan.diversity and self._plan.similarity is not None:
            similarity = self._plan.similarity.to_item(row)
            self._max_similarity = np.maximum(self._max_similarity, similarity)


def _choose(chances: _Chances, rng: np.random.Generator | None) -> Choice | None:
    """Choose the best candidate, or draw one; None where none is left."""
    best = chances.best
    if rng is None or not len(chances.pool):
        return None if best is None else Choice(best, 1.0)
    row = best
    if row is None or rng.random() < chances.chance:
        cumulated = np.cumsum(chances.weights)
        drawn = int(np.searchsorted(cumulated, rng.random(), side="right"))
        row = int(chances.pool[min(drawn, len(chances.pool) - 1)])
    return Choice(row, chances.compute_propensity(row), explored=row != best)


def _best_row(plan: SlatePlan, free: BoolArray, max_similarity: Float64Array) -> int | None:
    rows = np.flatnonzero(free)
    if not len(rows):
        return None
    if not plan.diversity:
        return int(rows[0])
    value = (1 - plan.diversity) * plan.relevance[rows] - plan.diversity * max_similarity[rows]
    return int(rows[np.argmax(value)])


def _exploration_chance(exploration: Exploration, rank: int, count: int) -> float:
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
