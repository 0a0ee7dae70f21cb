"""GrowthBook's rules of assignment, ported by hand: hash, buckets, namespaces, sticky buckets.

Source: docs.growthbook.io/lib/build-your-own, specification 0.7. Another implementation of them
gives a unit the same variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MIN_TOTAL, _MAX_TOTAL = 0.99, 1.01
_NAMESPACE = "__"

Range = tuple[float, float]


def hash_fnv1a32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of the UTF-8 bytes (Fowler, Noll and Vo).

    >>> [hex(hash_fnv1a32(text)) for text in ("", "a", "foobar")]
    ['0x811c9dc5', '0xe40c292c', '0xbf9cf968']
    """
    value = _OFFSET_BASIS
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFF
    return value


def hash_unit(seed: str, unit_id: str, version: int) -> float | None:
    """Return a number in [0, 1), uniform over units; None for a version that does not exist.

    Version 1 has thousandths, version 2 ten-thousandths and no correlation between similar seeds.

    >>> hash_unit("", "a", 1), hash_unit("seed", "a", 2), hash_unit("seed", "a", 3)
    (0.22, 0.0505, None)
    """
    if version == 1:
        return hash_fnv1a32(unit_id + seed) % 1_000 / 1_000
    if version == 2:
        return hash_fnv1a32(str(hash_fnv1a32(seed + unit_id))) % 10_000 / 10_000
    return None


def make_equal_weights(n_variants: int) -> list[float]:
    """Return the weights of variants that share all units alike; none for fewer than one.

    >>> make_equal_weights(4), make_equal_weights(-1)
    ([0.25, 0.25, 0.25, 0.25], [])
    """
    return [1 / n_variants] * n_variants if n_variants > 0 else []


def compute_bucket_ranges(
    n_variants: int, coverage: float, weights: Sequence[float] | None
) -> list[Range]:
    """Return the half-open range of the hash of each variant.

    Each range begins where the weights before it end, whatever the coverage, so that a larger
    coverage moves nobody. Weights that do not sum to about 1, or do not fit, are equal ones.

    >>> compute_bucket_ranges(2, 0.5, [0.4, 0.6])
    [(0.0, 0.2), (0.4, 0.7)]
    """
    share = min(max(coverage, 0.0), 1.0)
    equal = make_equal_weights(n_variants)
    fits = weights is not None and len(weights) == n_variants
    used = list(weights) if weights is not None and fits else equal
    if not _MIN_TOTAL <= sum(used) <= _MAX_TOTAL:
        used = equal
    starts = accumulate([0.0, *used[:-1]])
    return [(start, start + share * weight) for start, weight in zip(starts, used, strict=True)]


def choose_variation(share: float, ranges: Sequence[Range]) -> int:
    """Return the index of the range that holds a hash; -1 where none does.

    >>> [choose_variation(share, [(0, 0.5), (0.5, 1)]) for share in (0.2, 0.5, 1.2)]
    [0, 1, -1]
    """
    for index, (start, end) in enumerate(ranges):
        if start <= share < end:
            return index
    return -1


def is_in_namespace(unit_id: str, name: str, start: float, end: float) -> bool:
    """Return whether a unit belongs to the part [start, end) of a namespace."""
    share = hash_unit(_NAMESPACE + name, unit_id, 1)
    return share is not None and start <= share < end


@dataclass(frozen=True)
class StickyRule:
    """How an experiment treats variants that were met before.

    key           of the experiment
    version       of its buckets: a new one forgets what was met under those before
    min_version   units that met a variant under an older one take no part
    """

    key: str
    version: int = 0
    min_version: int = 0

    def name_assignment(self, version: int) -> str:
        """Return the key under which a met variant is stored."""
        return f"{self.key}__{version}"


class StickyVariant(NamedTuple):
    """The variant that a unit met before; `blocked`: it met one under too old a version."""

    variant: str | None
    blocked: bool = False


def find_sticky_variant(
    rule: StickyRule,
    of_unit: Mapping[str, str],
    of_fallback: Mapping[str, str],
    variants: Sequence[str],
) -> StickyVariant:
    """Return the variant that the unit met first, else the one that its fallback met.

    of_unit, of_fallback   stored variants of the unit, and of the visitor that it was before

    >>> find_sticky_variant(StickyRule("trial"), {}, {"trial__0": "b"}, ["a", "b"])
    StickyVariant(variant='b', blocked=False)
    """
    assignments = {**of_fallback, **of_unit}
    old = (rule.name_assignment(version) for version in range(rule.min_version))
    if any(name in assignments for name in old):
        return StickyVariant(None, blocked=True)
    variant = assignments.get(rule.name_assignment(rule.version))
    return StickyVariant(variant if variant in variants else None)
