"""Figures of a slate, worked out by hand, and the windows they are taken over."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from training.metrics import bootstrap_interval, coverage, ndcg, paired_p_value, recall
from training.splits import windows


def test_ndcg_discounts_by_rank_and_its_ideal_is_cut_at_the_number_of_relevant_items() -> None:
    assert ndcg(["a", "b"], {"a", "b"}, 10) == 1
    assert ndcg(["x", "a"], {"a"}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(["a", "x", "b"], {"a", "b", "c"}, 3) == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2))
    assert ndcg(["x", "a"], {"a"}, 1) == 0
    assert ndcg(["a"], set(), 10) == 0


def test_recall_and_coverage() -> None:
    assert recall(["a", "x", "b"], {"a", "b"}, 2) == 1 / 2
    assert coverage([["a", "b"], ["a", "c"]], 4, 1) == 1 / 4
    assert coverage([["a", "b"], ["a", "c"]], 4, 2) == 3 / 4


def test_the_paired_test_sees_a_steady_difference_that_spreads_between_users_hide() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.random(400)
    assert paired_p_value(theirs + 0.02 + 0.01 * rng.standard_normal(400), theirs) < 1e-9
    assert paired_p_value(theirs, theirs) == 1


def test_the_bootstrap_interval_is_that_of_the_normal_law_for_many_users() -> None:
    values = np.random.default_rng(4).standard_normal(2000)
    low, high = bootstrap_interval(values, np.random.default_rng(1))
    half = 1.96 * values.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_windows_touch_the_latest_first_and_keep_local_midnight_through_a_change_of_clocks() -> None:
    # New York leaves summer time on 2017-11-05.
    first, second = windows(datetime(2017, 12, 4, 5, tzinfo=UTC), 2, 4, "America/New_York")
    assert (first.cut, first.end) == (datetime(2017, 11, 6, 5, tzinfo=UTC), datetime(2017, 12, 4, 5, tzinfo=UTC))
    assert (second.cut, second.end) == (datetime(2017, 10, 9, 4, tzinfo=UTC), first.cut)
