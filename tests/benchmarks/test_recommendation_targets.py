"""Targets of the recommendation benchmark: missed where a baseline is not beaten beyond chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.recommendations import (
    BEFORE,
    LAST,
    Bench,
    check_accuracy,
    check_coverage,
)
from tests.benchmarks.targets import Target
from training.recommendations.baselines import BUY_AGAIN
from training.recommendations.long_tail_metrics import ASSIGNED, USUAL, LongTailMetrics
from training.recommendations.seed_evaluation import SeedEvaluation, TaskSeeds
from training.results import Evaluation
from training.splits import Window

N_USERS = 400


def make_seeds(mean: float, baseline: float, noise: float) -> TaskSeeds:
    """Five seeds around `mean`, and a baseline that differs by `noise` from user to user."""
    rng = np.random.default_rng(5)
    by_user = rng.normal(0, 1, N_USERS)
    by_user = (by_user - by_user.mean()) / by_user.std()
    ours = np.stack([np.full(N_USERS, mean + shift) for shift in (-0.002, -0.001, 0, 0.001, 0.002)])
    return TaskSeeds(ours, {"buy again": baseline + noise * by_user, "EASE": noise * by_user})


def make_slates(ndcg: float, coverage: float) -> LongTailMetrics:
    values = np.full(N_USERS, ndcg)
    return LongTailMetrics(values, values, values, coverage)


def make_bench(
    all_items: float = 0.43, new: float = 0.06, *, noise: float = 0.01, shown: float = 0.31
) -> Bench:
    tasks = {
        "all": make_seeds(all_items, 0.41, noise),
        "new": make_seeds(new, 0.04, noise),
    }
    data: Any = None
    evaluation = SeedEvaluation(
        window=Window(datetime(2024, 5, 6, tzinfo=UTC), datetime(2024, 6, 3, tzinfo=UTC)),
        first=Evaluation("recommendations", datetime(2024, 5, 6, tzinfo=UTC), "", (), ()),
        model=data,
        data=data,
        baselines={},
        tasks=tasks,
        carts=np.zeros(0),
    )
    tails = {
        USUAL: make_slates(all_items, 0.1),
        ASSIGNED: make_slates(all_items, shown),
        BUY_AGAIN: make_slates(0.41, 0.2),
    }
    return Bench(
        data, {LAST: evaluation, BEFORE: replace(evaluation)}, {LAST: tails, BEFORE: tails}
    )


def list_missed(targets: list[Target]) -> list[str]:
    return [target.name for target in targets if not target.met]


def test_all_are_met_when_every_baseline_is_beaten_in_both_windows() -> None:
    targets = check_accuracy(make_bench()) + check_coverage(make_bench())
    assert len(targets) == 2 * 2 + 2 + 2
    assert list_missed(targets) == []


@pytest.mark.parametrize(
    ("bench", "n_missed"),
    [
        # The paired t against buy again is .02 sqrt(400) / noise, 1.9 here: p = .058.
        (make_bench(noise=0.21), 4),
        # 2.5: p = .013 is low enough for new items, too high for all items.
        (make_bench(noise=0.16), 2),
        # Behind buy again in both windows, and below the target value.
        (make_bench(all_items=0.405), 3),
        (make_bench(new=0.051), 1),
    ],
)
def test_a_baseline_that_is_not_beaten_beyond_chance_is_a_miss(bench: Bench, n_missed: int) -> None:
    targets = check_accuracy(bench)
    assert len(list_missed(targets)) == n_missed


def test_the_means_of_the_seeds_are_tested_and_their_spread_is_reported() -> None:
    seeds = make_seeds(0.43, 0.41, 0.01)
    # The standard deviation of -2, -1, 0, 1, 2 thousandths: sqrt(10 / 4).
    assert seeds.spread() == pytest.approx(np.sqrt(10 / 4) / 1000)
    assert seeds.mean() == pytest.approx(0.43)
    first = seeds.format_table("all")[1]
    assert "0.4300  mean of 5 seeds" in first
    assert "0.4280 to 0.4320" in first


def test_coverage_counts_only_at_no_loss_of_ndcg() -> None:
    assert len(list_missed(check_coverage(make_bench(shown=0.29)))) == 2
    lossy = make_bench()
    for tails in lossy.long_tails.values():
        tails[ASSIGNED] = make_slates(0.42, 0.31)
    assert len(list_missed(check_coverage(lossy))) == 2
    assert str(check_coverage(make_bench())[0]).startswith("met ")
