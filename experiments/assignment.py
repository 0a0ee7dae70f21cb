"""Assignment of units to variants by a salted hash: equal in every process, nothing is stored.

Whether a unit takes part and which variant it gets are drawn under different seeds: with one seed
for both, a ramp to 10 % would hold only the lowest hashes, all in one variant.
"""

from __future__ import annotations

from datetime import datetime
from itertools import accumulate

from experiments.definition import CHAINS, Experiment, UnitKind, Variant
from experiments.growthbook import hash_unit, is_in_namespace

_ROLLOUT = "/rollout"


def hash_to_share(seed: str, unit_id: str) -> float:
    """Return a number in [0, 1), a whole multiple of 1/10000, uniform over units.

    >>> hash_to_share("seed", "a"), hash_to_share("seed", "b"), hash_to_share("foo", "ab")
    (0.0505, 0.2696, 0.2575)
    """
    share = hash_unit(seed, unit_id, 2)
    assert share is not None  # noqa: S101 (version 2 exists)
    return share


def participates(experiment: Experiment, unit_id: str, now: datetime | None = None) -> bool:
    """Whether layer and rollout include the unit; a larger coverage keeps included units in."""
    layer = experiment.layer
    if layer is not None and not is_in_namespace(unit_id, layer.name, layer.start, layer.end):
        return False
    coverage = experiment.coverage_at(now)
    return coverage >= 1 or hash_to_share(experiment.salt + _ROLLOUT, unit_id) < coverage


def assign(experiment: Experiment, unit_id: str, now: datetime | None = None) -> Variant | None:
    """Return the unit's variant; None when the experiment does not run or the unit is not included.

    Variants have half-open ranges [sum of weights before, that plus their own weight), in the order
    they are written. `now` decides how far a ramp has come.

    >>> halves = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
    >>> trial = Experiment(
    ...     key="trial",
    ...     placements=("home",),
    ...     variants=halves,
    ...     control="champion",
    ...     salt="seed",
    ...     hypothesis="they sell alike",
    ... )
    >>> hash_to_share("seed", "a"), assign(trial, "a").name
    (0.0505, 'champion')
    >>> hash_to_share("seed", "c"), assign(trial, "c").name
    (0.613, 'buy_again')
    """
    if not experiment.running or not participates(experiment, unit_id, now):
        return None
    return find_variant(experiment, hash_to_share(experiment.salt, unit_id))


def find_variant(experiment: Experiment, share: float) -> Variant:
    """Return the variant whose range contains `share`, 0 <= share < 1."""
    ends = accumulate(variant.weight for variant in experiment.variants)
    for variant, end in zip(experiment.variants, ends, strict=True):
        if share < round(end, 9):  # 0.1 + 0.2 is 0.30000000000000004
            return variant
    return experiment.variants[-1]


def find_unit(
    kind: UnitKind, *, user_id: str | None, visitor_id: str | None, session_id: str | None
) -> str | None:
    """Return the id to assign: the first known one of the kind's chain; None when none is known.

    >>> find_unit("user", user_id=None, visitor_id="v1", session_id="s1")
    'v1'
    """
    known = {"user_id": user_id, "visitor_id": visitor_id, "session_id": session_id}
    return next((known[column] for column in CHAINS[kind] if known[column]), None)
