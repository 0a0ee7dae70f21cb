import math

import numpy as np
import pytest

from training.significance import (
    Bootstrap,
    bootstrap_interval,
    compute_paired_p_value,
    correct_p_values,
)


def test_holm_keeps_the_order_of_p_values_and_never_exceeds_one() -> None:
    assert correct_p_values({}) == {}
    assert correct_p_values({"only": 0.04}) == {"only": 0.04}
    corrected = correct_p_values({"a": 0.02, "b": 0.001, "c": 0.9, "d": 0.015})
    assert corrected == pytest.approx({"a": 3 * 0.015, "b": 4 * 0.001, "c": 0.9, "d": 3 * 0.015})


def test_bootstrap_draws_the_same_users_for_every_column_and_leaves_out_users_without_a_value() -> (
    None
):
    values = np.random.default_rng(4).standard_normal(500)
    half = np.where(np.arange(500) < 250, values, np.nan)
    low, high = Bootstrap(500, np.random.default_rng(1)).intervals(
        np.column_stack([values, values + 3, half])
    )
    assert (low[1] - low[0], high[1] - high[0]) == pytest.approx((3, 3))
    width = 2 * 1.96 * values[:250].std() / math.sqrt(250)
    assert high[2] - low[2] == pytest.approx(width, rel=0.15)
    nothing = Bootstrap(3, np.random.default_rng(1)).intervals(np.full((3, 1), np.nan))
    assert np.isnan(nothing).all()


def test_the_paired_test_detects_a_small_constant_difference_between_noisy_users() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.random(400)
    assert compute_paired_p_value(theirs + 0.02 + 0.01 * rng.standard_normal(400), theirs) < 1e-9
    assert compute_paired_p_value(theirs, theirs) == 1


def test_the_bootstrap_interval_equals_the_normal_interval_for_many_users() -> None:
    values = np.random.default_rng(4).standard_normal(2000)
    low, high = bootstrap_interval(values, np.random.default_rng(1))
    half = 1.96 * values.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )
