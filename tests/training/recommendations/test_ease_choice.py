"""How EASE counts orders is chosen on the windows before the cut, and what ranks best serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.facts.facts import Facts
from models.ranking.lambdarank import Ranker
from models.ranking.model import TASKS
from models.retrieval.ease import EaseConfig
from tests.shops.dense_shops import END, DenseShop
from tests.shops.forty_shoppers import CONFIG
from training.recommendations.config import RecommendationsConfig
from training.recommendations.ease_choice import EaseChoice, EaseSettings, use_chosen_ease
from training.recommendations.snapshots import TrainingContext
from training.recommendations.task import train

SHOP = DenseShop("tastes", seed=1, n_people=150, n_items=100)
SHIPPED = EaseConfig()
GIVEN, OTHER = EaseSettings("binary", 500.0), EaseSettings("log", 50.0)
CUT = END - timedelta(weeks=4)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Settings]:
    return SHOP.open(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def make_context(shop: tuple[Facts, Settings]) -> Callable[..., TrainingContext]:
    def make(**changes: object) -> TrainingContext:
        given: dict[str, object] = {"ease": SHIPPED, "choose_ease": True, **changes}
        config: RecommendationsConfig = replace(CONFIG, **given)  # type: ignore[arg-type]
        return TrainingContext(*shop, config, lambda _: None)

    return make


def make_choice(given: list[float], other: list[float]) -> EaseChoice:
    values = {GIVEN: np.array(given), OTHER: np.array(other)}
    return EaseChoice(CUT, dict.fromkeys(TASKS, values))


def test_settings_that_are_measurably_better_replace_the_given_ones() -> None:
    better = make_choice([0.1, 0.2, 0.3, 0.2], [0.3, 0.41, 0.5, 0.39])
    assert better.find_best("new", GIVEN) == OTHER
    assert better.find_best("new", OTHER) == OTHER


def test_settings_that_are_better_by_chance_do_not() -> None:
    assert make_choice([0.1, 0.9, 0.3, 0.2], [0.9, 0.1, 0.6, 0.1]).find_best("new", GIVEN) == GIVEN
    assert make_choice([], []).find_best("new", GIVEN) == GIVEN


def test_a_dense_shop_gets_another_ease_as_source_and_as_baseline(
    make_context: Callable[..., TrainingContext],
) -> None:
    context, choices = use_chosen_ease(make_context(), CUT)
    chosen = EaseSettings.of(context.config.ease)
    assert chosen != GIVEN
    assert choices["ease"] == str(chosen)
    assert "of binary, l2 500 on new items of" in choices["ease_why"]
    assert context.config.ease.n_items == SHIPPED.n_items
    assert context.snapshot(CUT).retrieval.ease.weighting == chosen.weighting
    # The baseline's own setting, the logarithm with a penalty of 500, is replaced too.
    assert context.config.baselines.new.ease.l2 < CONFIG.baselines.new.ease.l2


def test_what_happens_after_the_cut_does_not_matter(
    make_context: Callable[..., TrainingContext], tmp_path: Path
) -> None:
    whole = make_context()
    early = TrainingContext(*SHOP.open(tmp_path, until=CUT), whole.config, lambda _: None)
    assert use_chosen_ease(early, CUT).choices == use_chosen_ease(whole, CUT).choices


@pytest.mark.parametrize("changes", [{"choose_ease": False}, {"ease_kind": "local"}])
def test_nothing_is_chosen_where_the_configuration_says_so(
    make_context: Callable[..., TrainingContext], changes: dict[str, object]
) -> None:
    context = make_context(**changes)
    assert use_chosen_ease(context, CUT) == (context, {})


def test_where_the_ranker_loses_ease_alone_serves_new_items(
    shop: tuple[Facts, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Ranker.score
    monkeypatch.setattr(Ranker, "score", lambda self, matrix, best=None: -score(self, matrix))
    config = replace(CONFIG, choose_ease=True)
    trained = train(*shop, config, until=None, refit=False, progress=lambda _: None)
    assert trained.served.policies["new"] == "ease"
    assert any("EASE alone ranks new items" in note for note in trained.evaluation.notes)
    comparison = trained.evaluation.comparison("NDCG@10 new items")
    assert comparison.ours > comparison.baselines["recent popularity"]
    assert "ease" in trained.evaluation.choices
