"""Who gets which variant: a salted hash, so that every process answers alike and nothing is stored.

The hash is version 2 of GrowthBook's (docs.growthbook.io/lib/build-your-own): FNV-1a taken twice,
which removes the correlation that one pass leaves between similar seeds. Whether a unit takes part
and which variant it gets are drawn under different seeds: with one seed for both, a ramp to 10 %
would hold only the lowest hashes, all in one variant.
"""

from __future__ import annotations

from itertools import accumulate

from experiments.definition import CHAINS, Experiment, UnitKind, Variant

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_BUCKETS = 10_000
_ROLLOUT = "/rollout"


def fnv1a32(text: str) -> int:
    """FNV-1a, 32 bits, of the UTF-8 bytes (Fowler, Noll and Vo).

    >>> [hex(fnv1a32(text)) for text in ("", "a", "foobar")]
    ['0x811c9dc5', '0xe40c292c', '0xbf9cf968']
    """
    value = _OFFSET_BASIS
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFF
    return value


def bucket(seed: str, unit_id: str) -> float:
    """A number in [0, 1), a whole multiple of 1/10000, uniform over units.

    >>> bucket("seed", "a"), bucket("seed", "b"), bucket("foo", "ab")
    (0.0505, 0.2696, 0.2575)
    """
    return fnv1a32(str(fnv1a32(seed + unit_id))) % _BUCKETS / _BUCKETS


def participates(experiment: Experiment, unit_id: str) -> bool:
    """Whether the rollout has reached the unit; once in, a larger coverage keeps it in."""
    return bucket(experiment.salt + _ROLLOUT, unit_id) < experiment.coverage


def assign(experiment: Experiment, unit_id: str) -> Variant | None:
    """The unit's variant; None when the experiment is stopped or the rollout has not reached the
    unit.

    Variants own half-open ranges [sum of weights before, that plus the own weight), in the order
    they are written.

    >>> halves = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
    >>> trial = Experiment("trial", ("home",), halves, "champion", "seed", "they sell alike")
    >>> bucket("seed", "a"), assign(trial, "a").name
    (0.0505, 'champion')
    >>> bucket("seed", "c"), assign(trial, "c").name
    (0.613, 'buy_again')
    """
    if not experiment.running or not participates(experiment, unit_id):
        return None
    return variant_of(experiment, bucket(experiment.salt, unit_id))


def variant_of(experiment: Experiment, share: float) -> Variant:
    """The variant whose range holds `share`, 0 <= share < 1."""
    ends = accumulate(variant.weight for variant in experiment.variants)
    for variant, end in zip(experiment.variants, ends, strict=True):
        if share < round(end, 9):  # 0.1 + 0.2 is 0.30000000000000004
            return variant
    return experiment.variants[-1]


def unit_of(
    kind: UnitKind, *, user_id: str | None, visitor_id: str | None, session_id: str | None
) -> str | None:
    """The id to assign: the first known one of the kind's chain; None when none is known.

    >>> unit_of("user", user_id=None, visitor_id="v1", session_id="s1")
    'v1'
    """
    known = {"user_id": user_id, "visitor_id": visitor_id, "session_id": session_id}
    return next((known[column] for column in CHAINS[kind] if known[column]), None)
