"""The slate, place by place: pins, at most so many of a kind, diversity, exploration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import BoolArray, Float64Array, Int64Array
from features.contracts.errors import BadInput
from models.ranking.slate.diversity import Likeness


@dataclass(frozen=True)
class Exploration:
    """How much of a slate learns instead of earns; nothing by default.

    places      the last so many places are drawn
    share       every other place is drawn with this chance
    pool        drawn from this many of the next candidates
    arrivals    and from so many of the newest items, which no ranker can know yet

    Items that were seen and sold little have the better chance: the weight of an item is the root
    of its relevance over 1 + ln(1 + views and orders of the week). Each place is one Plackett-Luce
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
        return self.places > 0 or self.share > 0


@dataclass(frozen=True)
class Cap:
    """At most `n` items of each group; `group` (n_candidates,), -1 where it does not count."""

    name: str
    group: Int64Array
    n: int


class Chosen(NamedTuple):
    """One place: which candidate, with which chance given the places before it, and whether it was
    explored."""

    at: int
    propensity: float
    explored: bool = False


@dataclass(frozen=True)
class Plan:
    """How to fill a slate from candidates, best first; arrays are aligned with them.

    relevance    falls
    pins         place (from 1) -> candidate; a pin beyond the last place is none
    usual        candidates that may stand without being explored
    likeness     with diversity above 0
    weights      with exploration; 0 where nothing is to be explored
    """

    relevance: Float64Array
    pins: Mapping[int, int] = field(default_factory=dict)
    caps: Sequence[Cap] = ()
    usual: BoolArray | None = None
    diversity: float = 0.0
    likeness: Likeness | None = None
    exploration: Exploration = field(default_factory=Exploration)
    weights: Float64Array | None = None


def assemble(plan: Plan, count: int, rng: np.random.Generator | None = None) -> list[Chosen]:
    """At most `count` places.

    Without a pin a place goes to the candidate with the highest (1 - diversity) * relevance -
    diversity * likeness to the nearest one chosen before (maximal marginal relevance, Carbonell and
    Goldstein 1998). With `rng` some are drawn.
    """
    n = len(plan.relevance)
    pinned = {place: at for place, at in plan.pins.items() if place <= count}
    left = np.ones(n, bool)
    left[list(pinned.values())] = False
    caps = _Caps(plan.caps, n, pinned.values())
    usual = np.ones(n, bool) if plan.usual is None else plan.usual
    nearest = np.zeros(n)
    slate: list[Chosen] = []
    for place in range(1, count + 1):
        if place in pinned:
            chosen = Chosen(pinned.pop(place), 1.0)
        else:
            found = _next(
                plan,
                left & caps.open,
                usual,
                nearest,
                _chance(plan.exploration, place, count, rng),
                rng,
            )
            if found is None:
                break
            chosen = found
            left[chosen.at] = False
            caps.take(chosen.at)
        slate.append(chosen)
        if plan.diversity and plan.likeness is not None:
            nearest = np.maximum(nearest, plan.likeness.to(chosen.at))
    # A short slate has its later pins at the end.
    slate += [Chosen(at, 1.0) for _, at in sorted(pinned.items())]
    return slate


def _next(
    plan: Plan,
    free: BoolArray,
    usual: BoolArray,
    nearest: Float64Array,
    chance: float,
    rng: np.random.Generator | None,
) -> Chosen | None:
    best = _best(plan, free & usual, nearest)
    if chance <= 0 or rng is None or plan.weights is None:
        return None if best is None else Chosen(best, 1.0)
    pool = np.flatnonzero(free & usual)[: plan.exploration.pool]
    pool = np.concatenate([pool, np.flatnonzero(free & ~usual)])
    pool = pool[plan.weights[pool] > 0]
    if not len(pool):
        return None if best is None else Chosen(best, 1.0)
    weights = plan.weights[pool] / plan.weights[pool].sum()
    chance = 1.0 if best is None else chance
    at = best
    if at is None or rng.random() < chance:
        drawn_at = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
        at = int(pool[min(drawn_at, len(pool) - 1)])
    drawn = float(weights[pool == at].sum())
    return Chosen(at, min(1.0, chance * drawn + (1.0 - chance) * (at == best)), explored=at != best)


def _best(plan: Plan, free: BoolArray, nearest: Float64Array) -> int | None:
    found = np.flatnonzero(free)
    if not len(found):
        return None
    if not plan.diversity:
        return int(found[0])
    value = (1 - plan.diversity) * plan.relevance[found] - plan.diversity * nearest[found]
    return int(found[np.argmax(value)])


def _chance(
    exploration: Exploration, place: int, count: int, rng: np.random.Generator | None
) -> float:
    if rng is None:
        return 0.0
    return 1.0 if place > count - exploration.places else exploration.share


class _Caps:
    """Which candidates no cap has closed yet."""

    def __init__(self, caps: Sequence[Cap], n: int, pinned: Iterable[int]) -> None:
        self._caps = caps
        self._counts: list[dict[int, int]] = [{} for _ in caps]
        self.open = np.ones(n, bool)
        for cap in caps:
            if cap.n == 0:
                self.open &= cap.group < 0
        for at in pinned:
            self.take(at)

    def take(self, at: int) -> None:
        """Counts the candidate at `at`."""
        for cap, counts in zip(self._caps, self._counts, strict=True):
            group = int(cap.group[at])
            if group < 0:
                continue
            counts[group] = counts.get(group, 0) + 1
            if counts[group] >= cap.n:
                self.open &= cap.group != group
