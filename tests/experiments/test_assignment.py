"""The split is the published hash, even, independent of the rollout, and never moves a unit that is
in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis import statistics
from experiments.assignment import (
    assign,
    find_unit,
    find_variant,
    hash_to_share,
    participates,
)
from experiments.definition import Experiment, Variant
from experiments.growthbook import hash_fnv1a32

HALVES = (Variant("champion", 0.5), Variant("buy_again", 0.5, "buy_again"))
TRIAL = Experiment("trial", ("home",), HALVES, "champion", "trial", "they sell alike")
UNITS = [f"user-{number}" for number in range(20_000)]


@pytest.mark.parametrize(
    ("seed", "unit", "share"),
    [
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
    ],
)
def test_buckets_are_those_of_growthbooks_published_cases(
    seed: str, unit: str, share: float
) -> None:
    assert hash_to_share(seed, unit) == share


def test_one_step_of_the_hash_by_hand() -> None:
    assert hash_fnv1a32("a") == ((0x811C9DC5 ^ 0x61) * 0x01000193) % 2**32
    inner = hash_fnv1a32("seed" + "a")
    assert hash_to_share("seed", "a") == hash_fnv1a32(str(inner)) % 10_000 / 10_000


def test_ranges_are_half_open() -> None:
    parts = tuple(Variant(name, weight) for name, weight in (("a", 0.1), ("b", 0.2), ("c", 0.7)))
    experiment = replace(TRIAL, variants=parts, control="a")
    shares = (0.0, 0.0999, 0.1, 0.2999, 0.3, 0.9999)
    assert [find_variant(experiment, share).name for share in shares] == [
        "a",
        "a",
        "b",
        "b",
        "c",
        "c",
    ]


def test_units_fall_by_the_weights() -> None:
    """20,000 units: the standard deviation of a share of 0.2 is 0.0028; tolerance 0.012 (over four
    of them)."""
    parts = (Variant("a", 0.2), Variant("b", 0.3), Variant("c", 0.5))
    experiment = replace(TRIAL, variants=parts, control="a")
    counts = Counter(assign(experiment, unit).name for unit in UNITS)  # type: ignore[union-attr]
    for variant in parts:
        assert counts[variant.name] / len(UNITS) == pytest.approx(variant.weight, abs=0.012)
    tenths = Counter(int(hash_to_share("trial", unit) * 10) for unit in UNITS)
    p_value = statistics.compute_sample_ratio_p_value(
        [tenths[tenth] for tenth in range(10)], [0.1] * 10
    )
    assert p_value is not None
    assert p_value > 0.001


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.9])
def test_the_rollout_says_nothing_about_the_variant(coverage: float) -> None:
    """About 20,000 * coverage units take part; tolerance 4.5 standard deviations of a half."""
    experiment = replace(TRIAL, coverage=coverage)
    inside = [variant.name for unit in UNITS if (variant := assign(experiment, unit))]
    assert len(inside) / len(UNITS) == pytest.approx(coverage, abs=0.016)
    assert inside.count("champion") / len(inside) == pytest.approx(
        0.5, abs=4.5 * 0.5 / len(inside) ** 0.5
    )


def test_two_experiments_split_independently() -> None:
    """Four cells of 5,000 expected; standard deviation 61, tolerance 280."""
    other = replace(TRIAL, key="trial2", salt="trial2")
    cells = Counter((assign(TRIAL, unit).name, assign(other, unit).name) for unit in UNITS)  # type: ignore[union-attr]
    assert len(cells) == 4
    for count in cells.values():
        assert count == pytest.approx(5_000, abs=280)


@given(
    unit=st.text(max_size=40),
    before=st.floats(0, 1),
    after=st.floats(0, 1),
    salt=st.text(min_size=1, max_size=10),
)
def test_a_ramp_never_moves_a_unit_that_is_in(
    unit: str, before: float, after: float, salt: str
) -> None:
    before, after = sorted((before, after))
    was = assign(replace(TRIAL, coverage=before, salt=salt), unit)
    assert was is None or assign(replace(TRIAL, coverage=after, salt=salt), unit) == was


def test_everyone_no_one_and_a_stopped_experiment() -> None:
    some = UNITS[:500]
    assert all(participates(TRIAL, unit) for unit in some)
    assert not any(participates(replace(TRIAL, coverage=0.0), unit) for unit in some)
    assert all(assign(replace(TRIAL, status="stopped"), unit) is None for unit in some)


def test_the_unit_is_the_first_known_id_of_its_chain() -> None:
    assert find_unit("user", user_id="u", visitor_id="v", session_id="s") == "u"
    assert find_unit("user", user_id=None, visitor_id=None, session_id="s") == "s"
    assert find_unit("visitor", user_id="u", visitor_id="v", session_id="s") == "v"
    assert find_unit("session", user_id="u", visitor_id="v", session_id=None) is None
