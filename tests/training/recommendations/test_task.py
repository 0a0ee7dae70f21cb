"""A recommendation training from facts to model, in a shop of forty shoppers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.settings import Settings
from features.contracts.errors import BadInput
from features.contracts.tables import TABLES
from features.facts.facts import Facts
from models.ranking.lambdarank import Ranker, RankerConfig
from models.ranking.model import RecommendationModel
from models.retrieval.als import AlsConfig
from models.retrieval.ease import EaseConfig
from training.recommendations.metrics import ndcg
from training.recommendations.task import RecommendationsConfig, evaluate, train
from training.results import Trained

END = datetime(2024, 5, 6, tzinfo=UTC)
CUT = END - timedelta(weeks=4)
N_WEEKS = 20
TREES = RankerConfig(n_trees=15, n_leaves=7, share_negatives=1.0)
CONFIG = RecommendationsConfig(
    ease=EaseConfig(l2=5.0),
    als=AlsConfig(n_factors=4, n_iterations=3),
    ranker_all=TREES,
    ranker_new=TREES,
)


def purchases() -> list[dict[str, Any]]:
    """Forty shoppers with tastes over thirty items, who buy up to seven a week and come back for
    some."""
    rng = np.random.default_rng(11)
    rows = []
    for n in range(40):
        taste = rng.dirichlet(np.where(np.arange(30) % 3 == n % 3, 0.8, 0.05))
        for week in range(N_WEEKS):
            at = END - timedelta(weeks=week, hours=30 + n)
            rows.extend(
                row(f"u{n:02}", f"i{item:02}", at)
                for item in sorted(set(rng.choice(30, 8, p=taste)))
            )
    return rows


def row(user_id: str, item_id: str, at: datetime) -> dict[str, Any]:
    values = {
        "event_id": f"{user_id} {item_id} {at.isoformat()}",
        "event_type": "purchase",
        "occurred_at": at,
        "user_id": user_id,
        "item_id": item_id,
        "zone": "default",
        "quantity": 1.0,
        "line_amount_minor": 100,
        "order_id": f"{user_id} {at.isoformat()}",
    }
    return {name: values.get(name) for name in TABLES["events"].arrow.names}


def shop(home: Path, rows: list[dict[str, Any]]) -> tuple[Facts, Settings]:
    settings = Settings(home=home)
    facts = Facts(settings)
    items = [{"item_id": f"i{n:02}", "category": f"Food > {n % 3}"} for n in range(30)]
    names = TABLES["items"].arrow.names
    facts.write(
        {
            "events": pa.Table.from_pylist(rows, TABLES["events"].arrow),
            "items": pa.Table.from_pylist(
                [{n: each.get(n) for n in names} for each in items], TABLES["items"].arrow
            ),
        }
    )
    return facts, settings


def trained(facts: Facts, settings: Settings, **options: Any) -> Trained[RecommendationModel]:
    return train(
        facts,
        settings,
        CONFIG,
        until=options.pop("until", None),
        progress=lambda _: None,
        **options,
    )


def bought_after_the_cut() -> dict[str, set[str]]:
    rows = purchases()
    known = {each["item_id"] for each in rows if each["occurred_at"] < CUT}
    after: dict[str, set[str]] = {}
    for each in rows:
        if each["occurred_at"] >= CUT and each["item_id"] in known:
            after.setdefault(each["user_id"], set()).add(each["item_id"])
    return after


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, Settings]:
    return shop(tmp_path_factory.mktemp("shop"), purchases())


@pytest.fixture(scope="module")
def result(facts: tuple[Facts, Settings]) -> Trained[RecommendationModel]:
    return trained(*facts)


def test_the_cut_and_every_baseline_stand_in_the_evaluation(
    result: Trained[RecommendationModel],
) -> None:
    assert result.evaluation.cut == CUT
    visitors, carts = result.evaluation.comparisons[:2], result.evaluation.comparisons[2:]
    assert [each.metric for each in visitors] == ["NDCG@10 all items", "NDCG@10 new items"]
    assert [each.metric for each in carts] == ["recall@10 last of cart", "NDCG@10 last of cart"]
    for each in carts:
        assert set(each.baselines) == {"recent popularity", "ItemKNN", "ItemKNN orders"}
    for each in visitors:
        assert set(each.baselines) == {
            "recent popularity",
            "ALS",
            "BPR",
            "ItemKNN",
            "EASE",
            "buy again",
        }
        assert each.baselines[each.strongest] == max(each.baselines.values())


def bought_before_the_cut() -> dict[str, set[str]]:
    own: dict[str, set[str]] = {}
    for each in purchases():
        if each["occurred_at"] < CUT:
            own.setdefault(each["user_id"], set()).add(each["item_id"])
    return own


def test_the_figure_is_that_of_the_slates_by_the_written_protocol(
    result: Trained[RecommendationModel],
) -> None:
    own, slates = bought_before_the_cut(), result.evaluation.slates["new"]
    new = {user: items - own[user] for user, items in bought_after_the_cut().items()}
    relevant = {user: items for user, items in new.items() if items}
    assert set(slates) == set(relevant)
    mean = np.mean([ndcg(slates[user], relevant[user], 10) for user in relevant])
    assert result.evaluation.comparison("NDCG@10 new items").ours == pytest.approx(mean)


def test_slates_of_new_items_hold_nothing_bought_before(
    result: Trained[RecommendationModel],
) -> None:
    own = bought_before_the_cut()
    for user, slate in result.evaluation.slates["new"].items():
        assert not set(slate) & own[user]


def test_where_the_ranker_loses_the_simple_rule_serves_and_the_rankers_own_figure_is_told(
    facts: tuple[Facts, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Ranker.score
    monkeypatch.setattr(Ranker, "score", lambda self, matrix, best=None: -honest(self, matrix))
    result = trained(*facts, refit=False)
    assert result.served.policies["all"] == "buy_again"
    assert any("the simple rule serves" in note for note in result.evaluation.notes)
    comparison = result.evaluation.comparison("NDCG@10 all items")
    assert comparison.ours < comparison.baselines["buy again"]
    relevant, slates = (
        bought_after_the_cut(),
        result.evaluation.slates["all"],
    )  # those that will be served
    served = np.mean([ndcg(slates[user], relevant[user], 10) for user in relevant])
    assert served == pytest.approx(comparison.baselines["buy again"])


def test_a_plot_stands_beside_the_figures(result: Trained[RecommendationModel]) -> None:
    axes = result.evaluation.figures["ndcg_by_depth"].axes
    assert [each.get_title() for each in axes] == ["all items", "new items"]
    drawn = {line.get_label(): line.get_ydata()[4] for line in axes[0].lines}  # at ten places
    comparison = result.evaluation.comparison("NDCG@10 all items")
    assert drawn == pytest.approx({"Shopwright": comparison.ours, **comparison.baselines})


def test_the_same_data_and_seed_give_the_same_slates_and_nothing_after_until_is_seen(
    facts: tuple[Facts, Settings], result: Trained[RecommendationModel], tmp_path: Path
) -> None:
    later = [row(f"u{n:02}", "i29", END + timedelta(days=1 + n)) for n in range(10)]
    again = trained(*shop(tmp_path, purchases() + later), until=END, refit=False)
    assert again.evaluation.slates == result.evaluation.slates
    assert again.evaluation.comparisons == result.evaluation.comparisons


def test_what_is_bought_after_the_cut_does_not_move_the_model_that_is_judged(
    result: Trained[RecommendationModel], tmp_path: Path
) -> None:
    before = [each for each in purchases() if each["occurred_at"] < CUT]
    after = [row(user, "i00", END - timedelta(hours=30)) for user in bought_after_the_cut()]
    other = trained(*shop(tmp_path, before + after), refit=False)
    assert other.evaluation.cut == CUT
    for task, ranker in other.evaluated.rankers.items():
        assert (
            ranker.booster.model_to_string()
            == result.evaluated.rankers[task].booster.model_to_string()
        )
    weights = [each.evaluated.retrieval.ease.weights.toarray().tolist() for each in (other, result)]
    assert weights[0] == weights[1]


def test_without_history_before_the_cut_the_message_says_so(tmp_path: Path) -> None:
    empty = shop(tmp_path / "empty", [])
    with pytest.raises(BadInput, match="no events"):
        evaluate(*empty, CONFIG, until=None, progress=lambda _: None)
    young = shop(tmp_path / "young", [row("u1", "i01", END - timedelta(days=2))])
    with pytest.raises(BadInput, match="nobody bought anything before the cut"):
        evaluate(*young, CONFIG, until=None, progress=lambda _: None)
