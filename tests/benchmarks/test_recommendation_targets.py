"""Targets of the recommendation benchmark: missed where a baseline is not beaten beyond chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.benchmarks.recommendations import (
    ALL,
    BEFORE,
    LAST,
    NEW,
    Bench,
    check_accuracy,
    check_coverage,
)
from tests.benchmarks.targets import Target
from training.results import OURS, Comparison, Evaluation


def make_comparison(metric: str, ours: float, p_value: float) -> Comparison:
    baselines = {"buy again": 0.04, "EASE": 0.03}
    p_values = {"buy again": p_value, "EASE": 0.001}
    return Comparison(
        metric=metric,
        ours=ours,
        baselines=baselines,
        better="higher",
        strongest="buy again",
        p_value=p_value,
        p_values=p_values,
        intervals={OURS: (ours - 0.01, ours + 0.01)},
    )


def make_bench(
    p_value: float = 0.001, all_items: float = 0.43, new: float = 0.06, shown: float = 0.61
) -> Bench:
    both = make_comparison(ALL, all_items, p_value), make_comparison(NEW, new, p_value)
    metrics = {"coverage@20 all": shown, "coverage@20 all buy again": 0.2}
    evaluation = Evaluation(
        "recommendations", datetime(2024, 5, 6, tzinfo=UTC), ALL, both, True, metrics
    )
    data: Any = None
    return Bench(data, {LAST: evaluation, BEFORE: replace(evaluation)})


def list_missed(targets: list[Target]) -> list[str]:
    return [target.name for target in targets if not target.met]


def test_all_are_met_when_every_baseline_is_beaten_in_both_windows() -> None:
    targets = check_accuracy(make_bench()) + check_coverage(make_bench())
    assert len(targets) == 2 * 2 + 2 + 2
    assert list_missed(targets) == []


@pytest.mark.parametrize(
    ("bench", "n_missed"),
    [
        (make_bench(p_value=0.02), 2),  # low enough for new items, too high for all items
        (make_bench(p_value=0.06), 4),
        # Behind buy again in both windows, and below the target value.
        (make_bench(all_items=0.039), 3),
        (make_bench(new=0.051), 1),
    ],
)
def test_a_baseline_that_is_not_beaten_beyond_chance_is_a_miss(bench: Bench, n_missed: int) -> None:
    targets = check_accuracy(bench)
    assert len(list_missed(targets)) == n_missed
    if bench.evaluations[LAST].comparison(ALL).p_value == 0.06:
        assert all("buy again" in target.measured for target in targets if not target.met)


def test_coverage_counts_only_at_no_loss_of_ndcg() -> None:
    assert len(list_missed(check_coverage(make_bench(shown=0.59)))) == 2
    assert len(list_missed(check_coverage(make_bench(all_items=0.039)))) == 2
    assert str(check_coverage(make_bench())[0]).startswith("met ")
