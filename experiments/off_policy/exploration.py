"""The value of a placement with another amount of exploration, from its logged slates."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from experiments.off_policy.estimators import PolicyValue, estimate_value
from experiments.off_policy.logged_slates import LoggedSlates, pad_ranks
from features.contracts.arrays import BoolArray, Float64Array
from features.contracts.errors import BadInput
from features.contracts.recommendations import Reason
from models.ranking.slate.assemble import Exploration

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ExplorationValue:
    """The mean reward of a slate as it was shown, and under the other exploration."""

    shown: float
    other: PolicyValue


def evaluate_exploration(
    slates: pa.Table, rewarded: Set[tuple[str, str]], current: Exploration, other: Exploration
) -> ExplorationValue:
    """Return the value of another exploration of the same pool.

    slates     as `features.facts.slates.read_slates` returns them; those without propensities are
               left out
    rewarded   recommendation_id and item_id of what earned a reward of 1
    current    the exploration under which they were shown

    Raises BadInput without slates, where they were shown under another exploration than `current`,
    or where they say too little of the other one.
    """
    rows = [row for row in slates.to_pylist() if row["propensity"]]
    if not rows:
        raise BadInput(
            "no logged slate has propensities",
            where="off-policy evaluation",
            hint="Only placements with `exploration` can be evaluated",
        )
    logged, shown = pad_ranks([row["propensity"] for row in rows])
    explored, _ = pad_ranks([_mark_explored(row["reason"]) for row in rows])
    reward, _ = pad_ranks(
        [_mark_rewarded(row["recommendation_id"], row["item_id"], rewarded) for row in rows]
    )
    lengths = shown.sum(1)
    draw_chances = _compute_draw_chances(logged, explored > 0, _list_chances(current, lengths))
    chances = _list_chances(other, lengths)
    target = chances * draw_chances + (1 - chances) * (explored == 0)
    units = [row["unit_id"] or row["recommendation_id"] for row in rows]
    log = LoggedSlates(
        unit=np.unique(units, return_inverse=True)[1],
        shown=shown,
        logged=logged,
        target=np.clip(target, 0.0, 1.0),
        reward=reward,
    )
    return ExplorationValue(float(log.earned.sum(1).mean()), estimate_value(log))


def _mark_explored(reasons: list[str | None]) -> list[float]:
    return [float(reason == Reason.EXPLORATION) for reason in reasons]


def _mark_rewarded(
    recommendation_id: str, item_ids: list[str], rewarded: Set[tuple[str, str]]
) -> list[float]:
    return [float((recommendation_id, item_id) in rewarded) for item_id in item_ids]


def _list_chances(exploration: Exploration, lengths: Float64Array) -> Float64Array:
    """Return (S, K) the chance of a draw at each rank of slates of these lengths (S,)."""
    ranks = np.arange(1, int(lengths.max()) + 1)
    is_last = ranks > (lengths - exploration.places)[:, None]
    return np.where(is_last, 1.0, exploration.share)


def _compute_draw_chances(
    logged: Float64Array, explored: BoolArray, chances: Float64Array
) -> Float64Array:
    """Return (S, K) the chance of the shown item in a draw.

    An item that was not the best one was shown by a draw: p = chance * draw. The best one was also
    shown without: p = chance * draw + 1 - chance.
    """
    certain = np.where(explored, 0.0, 1 - chances)
    draws = np.divide(logged - certain, chances, out=np.zeros_like(logged), where=chances > 0)
    fits = (draws > -_TOLERANCE) & (draws < 1 + _TOLERANCE)
    fits &= (chances > 0) | (np.abs(logged - certain) < _TOLERANCE)
    if not fits.all():
        raise BadInput(
            f"{int((~fits).any(1).sum()):,} of {len(fits):,} slates were shown under another "
            "exploration than the placement has now",
            where="off-policy evaluation",
            hint="Try fewer --days",
        )
    return np.asarray(draws)
