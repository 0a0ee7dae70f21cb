"""Metrics of slates against values by hand, and the windows that they are taken over."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from training.recommendations import metrics
from training.recommendations.metrics import coverage, ndcg, recall
from training.splits import windows


def test_ndcg_discounts_by_rank_and_its_ideal_is_cut_at_the_number_of_relevant_items() -> None:
    assert ndcg(["a", "b"], {"a", "b"}, 10) == 1
    assert ndcg(["x", "a"], {"a"}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(["a", "x", "b"], {"a", "b", "c"}, 3) == pytest.approx(
        (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)
    )
    assert ndcg(["x", "a"], {"a"}, 1) == 0
    assert ndcg(["a"], set(), 10) == 0


def test_metrics_of_many_slates_equal_those_of_single_slates_also_of_short_ones() -> None:
    slates = [["a", "x", "b"], ["x"], []]
    relevant = [{"a", "b", "c"}, {"y"}, {"a"}]
    hits = np.array([[True, False, True], [False] * 3, [False] * 3])
    n_relevant = np.array([3, 1, 1])
    for k in (1, 2, 3, 10):
        alone = [(ndcg(s, r, k), recall(s, r, k)) for s, r in zip(slates, relevant, strict=True)]
        together = np.column_stack(
            [metrics.ndcgs(hits, n_relevant, k), metrics.recalls(hits, n_relevant, k)]
        )
        assert together.tolist() == [list(each) for each in alone]


def test_diversity_compares_pairs_by_levels_without_unknown_categories_and_empty_ranks() -> None:
    paths = np.array(
        [[0, 0, 0], [0, 0, 1], [1, 2, -1], [-1, -1, -1]]
    )  # a > b > c, a > b > d, e > f, unknown
    found = metrics.diversities(np.array([[0, 1, -1], [0, 1, 2], [0, 3, 1], [3, 0, -1]]), paths, 3)
    assert found[:3] == pytest.approx([1 - 2 / 3, 1 - (2 / 3 + 0 + 0) / 3, 1 - 2 / 3])
    assert math.isnan(found[3])


def test_two_thousand_users_six_methods_and_three_depths_take_seconds() -> None:
    rng = np.random.default_rng(3)
    paths = rng.integers(0, 30, (20_000, 3)).cumsum(1)
    started = time.perf_counter()
    for _ in range(6):
        positions = rng.integers(0, 20_000, (2_000, 20))
        hits, n_relevant = positions % 11 == 0, np.full(2_000, 9)
        for k in (5, 10, 20):
            for metric in (metrics.ndcgs, metrics.recalls, metrics.average_precisions):
                metric(hits, n_relevant, k)
            metrics.diversities(positions, paths, k)
            metrics.gini(positions, 20_000, k)
    assert time.perf_counter() - started < 20  # about 1 s on an idle core


def test_recall_and_coverage() -> None:
    assert recall(["a", "x", "b"], {"a", "b"}, 2) == 1 / 2
    slates = np.array([[0, 1], [0, 2]])
    assert coverage(slates, 4, 1) == 1 / 4
    assert coverage(slates, 4, 2) == 3 / 4


def test_windows_touch_the_latest_first_and_keep_local_midnight_through_a_change_of_clocks() -> (
    None
):
    # New York leaves summer time on 2017-11-05.
    first, second = windows(datetime(2017, 12, 4, 5, tzinfo=UTC), 2, 4, "America/New_York")
    assert (first.cut, first.end) == (
        datetime(2017, 11, 6, 5, tzinfo=UTC),
        datetime(2017, 12, 4, 5, tzinfo=UTC),
    )
    assert (second.cut, second.end) == (datetime(2017, 10, 9, 4, tzinfo=UTC), first.cut)
