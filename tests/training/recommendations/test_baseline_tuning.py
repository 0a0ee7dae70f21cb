"""The baselines' settings are searched on past windows, and the best of the trials is returned."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import load
from features.contracts.errors import BadInput
from tests.shops.forty_shoppers import CUT, make_purchases, write_shop
from training.recommendations.baseline_config import BaselinesConfig, BuyAgainRuleConfig
from training.recommendations.baseline_tuning import (
    METHODS,
    Range,
    TestWindow,
    draw_configs,
    make_test_window,
    tune_baselines,
)
from training.recommendations.config import RecommendationsConfig
from training.splits import windows


@pytest.fixture(scope="module")
def test_window(tmp_path_factory: pytest.TempPathFactory) -> TestWindow:
    home: Path = tmp_path_factory.mktemp("shop")
    facts, settings = write_shop(home, make_purchases())
    (window,) = windows(CUT, 1, 4, settings.timezone)
    return make_test_window(facts, window, settings.seed)


def test_the_best_trial_is_returned_for_each_task(test_window: TestWindow) -> None:
    shown: list[str] = []
    tuned = list(
        tune_baselines(
            [test_window],
            BaselinesConfig(),
            4,
            0,
            methods=["buy_again", "tifu_knn"],
            progress=shown.append,
        )
    )
    assert [(result.method, result.task) for result in tuned] == [
        ("buy_again", "all"),
        ("buy_again", "new"),
        ("tifu_knn", "all"),
        ("tifu_knn", "new"),
    ]
    assert len(shown) == 2 * 4
    for result in tuned:
        assert result.best == test_window.measure(result.config)[result.task].mean()
        assert result.best >= result.given


@pytest.mark.parametrize("method", METHODS)
def test_trials_lie_in_their_ranges_and_repeat_with_the_seed(method: str) -> None:
    given = getattr(BaselinesConfig().all, method)
    configs = draw_configs(method, given, 20, seed=3)
    assert len(configs) == len(set(configs)) == 20
    assert configs == draw_configs(method, given, 20, seed=3)
    assert configs != draw_configs(method, given, 20, seed=4)


def test_a_range_is_picked_from_by_its_scale() -> None:
    assert Range(1, 100, log=True).pick(0.5) == 10
    assert Range(0.0, 1.0).pick(0.25) == 0.25
    assert Range(2, 6).pick(0.5) == 4


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(BadInput):
        draw_configs("tifu_knn", BuyAgainRuleConfig(), 1, seed=0)


def test_settings_of_a_file_leave_the_others_at_the_defaults_of_their_task() -> None:
    # In the task "new" EASE is strongest on the logarithm of orders, on this data and elsewhere.
    shipped = load("models/recommendations", RecommendationsConfig).baselines
    assert (shipped.all.ease.weighting, shipped.new.ease.weighting) == ("orders", "log")
