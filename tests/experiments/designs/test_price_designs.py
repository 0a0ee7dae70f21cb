"""Designs of price tests: who has which price when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.designs.price_designs import Crossover, Periods, SteppedRollout, Switchback
from features.contracts.errors import BadInput

SEEDS = st.integers(0, 10_000)


def draw(design: object, seed: int = 1) -> np.ndarray:
    return design.draw_assignment(np.random.default_rng(seed))


def name_units(n: int) -> tuple[str, ...]:
    return tuple(f"u{k}" for k in range(n))


@given(n=st.integers(2, 30), n_pairs=st.integers(1, 4), seed=SEEDS)
def test_a_crossover_gives_every_unit_both_prices_equally_often(n, n_pairs, seed):
    strata = tuple(f"c{k % 3}" for k in range(n))
    design = Crossover(name_units(n), strata, Periods(2 * n_pairs, 4))
    assignment = draw(design, seed)
    assert assignment.shape == (n, 2 * n_pairs)
    assert (assignment.sum(1) == n_pairs).all()
    # And of every category half the units, or the two numbers next to it, in every period.
    for stratum in set(strata):
        members = np.array(strata) == stratum
        counts = assignment[members].sum(0)
        assert set(counts.tolist()) <= {members.sum() // 2, -(-members.sum() // 2)}


@given(n=st.integers(1, 8), n_periods=st.sampled_from([4, 6, 10]), seed=SEEDS)
def test_a_switchback_gives_every_zone_both_prices_equally_often(n, n_periods, seed):
    assignment = draw(Switchback(name_units(n), Periods(n_periods, 2)), seed)
    assert (assignment.sum(1) == n_periods // 2).all()
    # And in every period half of the zones, but for one of an odd number.
    assert (np.abs(2 * assignment.sum(0) - n) <= 1).all()


@given(n=st.integers(3, 20), seed=SEEDS)
def test_a_roll_out_starts_with_nobody_ends_with_everybody_and_never_goes_back(n, seed):
    assignment = draw(SteppedRollout(name_units(n), Periods(4, 3)), seed)
    assert not assignment[:, 0].any()
    assert assignment[:, -1].all()
    assert (np.diff(assignment.astype(int), axis=1) >= 0).all()
    steps = np.bincount(assignment.argmax(1), minlength=4)[1:]
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    "design",
    [
        Crossover(name_units(6), ("c",) * 6, Periods(2, 6)),
        Switchback(name_units(3), Periods(8, 2)),
        SteppedRollout(name_units(6), Periods(4, 3)),
    ],
)
def test_the_same_seed_draws_the_same_assignment_and_others_differ(design):
    assert (draw(design, 5) == draw(design, 5)).all()
    assert any((draw(design, 5) != draw(design, seed)).any() for seed in range(6, 12))


def test_every_unit_is_equally_likely_to_begin_at_the_test_price():
    design = Crossover(name_units(5), ("a", "a", "a", "b", "b"), Periods(2, 6))
    rng = np.random.default_rng(2)
    begins = np.mean([design.draw_assignment(rng)[:, 0] for _ in range(4000)], axis=0)
    # Binomial: standard error sqrt(.25 / 4000) = .008; four of them.
    assert np.abs(begins - 0.5).max() < 0.032


def test_weeks_of_the_burn_in_are_left_out():
    periods = Periods(2, 3, burn_in_weeks=1)
    assert periods.is_analysed.tolist() == [False, True, True, False, True, True]
    assert periods.period_of_week.tolist() == [0, 0, 0, 1, 1, 1]
    assert (periods.n_weeks, periods.n_analysed_weeks) == (6, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Periods(1, 4), "2 periods or more"),
        (lambda: Periods(2, 2, burn_in_weeks=2), "leaves nothing"),
        (lambda: Crossover(("a", "b"), ("c", "c"), Periods(3, 4)), "even number"),
        (lambda: Crossover(("a",), ("c",), Periods(2, 4)), "2 units or more"),
        (lambda: Crossover(("a", "a"), ("c", "c"), Periods(2, 4)), "named twice"),
        (lambda: Crossover(("a", "b"), ("c",), Periods(2, 4)), "a stratum"),
        (lambda: Switchback(("a",), Periods(2, 4)), "4 or more"),
        (lambda: SteppedRollout(("a", "b"), Periods(4, 4)), "3 steps"),
    ],
)
def test_designs_that_cannot_be_analysed_are_refused(build, message):
    with pytest.raises(BadInput, match=message):
        build()
