"""What completes a cart, by rules alone and by a ranker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from models.ranking.cart import cart_columns
from models.ranking.lambdarank import GroupedRows, RankerConfig, fit_ranker
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender


@pytest.fixture(scope="module")
def learnt(model: RecommendationModel) -> RecommendationModel:
    """Its ranker learnt that strong rules, and what the visitor bought often, complete a cart."""
    names = cart_columns(model.item_columns, model.user_columns)
    matrix = np.random.default_rng(2).random((1000, len(names))).astype(np.float32)
    together, often = names.index("together_sum"), names.index("decayed_frequency")
    matrix[:, together] *= 0.3  # as far as rules reach in this shop
    matrix[::2, often] = np.nan
    signal = matrix[:, together] / 0.3 + np.nan_to_num(matrix[:, often])
    config = RankerConfig(n_trees=20, n_leaves=7, share_features=1.0)
    ranker = fit_ranker(GroupedRows(matrix, signal > 0.8, np.full(50, 20), names), config, seed=1)
    return replace(
        model,
        rankers=model.rankers | {"cart": ranker},
        policies=model.policies | {"cart": "ranker"},
    )


def complete_cart(
    model: RecommendationModel,
    items: ItemFeatures,
    who: UserHistory,
    *cart: str,
    count: int = 5,
    explain: bool = True,
) -> Slate:
    recommender = Recommender(model, items, {"cart": Placement("bought_together")})
    query = RecommendationQuery(
        who, "cart", count, context_item_ids=cart, explain=explain, strict=True
    )
    return recommender.recommend([query])[0]


@pytest.mark.parametrize("by_ranker", [False, True])
def test_a_strangers_cart_is_completed_from_its_own_circle_and_never_by_itself(
    model: RecommendationModel,
    learnt: RecommendationModel,
    items: ItemFeatures,
    history: Callable[..., UserHistory],
    by_ranker: bool,
) -> None:
    slate = complete_cart(learnt if by_ranker else model, items, history(None), "i03", "i05")
    assert slate.items
    assert not {"i03", "i05"} & {item.item_id for item in slate.items}
    assert slate.items[0].reason == Reason.BOUGHT_TOGETHER
    assert int(slate.items[0].item_id[1:]) % 2


@pytest.mark.parametrize("by_ranker", [False, True])
def test_the_rules_of_each_context_item_are_contributions(
    model: RecommendationModel,
    learnt: RecommendationModel,
    items: ItemFeatures,
    history: Callable[..., UserHistory],
    by_ranker: bool,
) -> None:
    first = complete_cart(learnt if by_ranker else model, items, history(None), "i03").items[0]
    rules = model.retrieval.bought_together
    row, to = (rules.item_ids.tolist().index(item_id) for item_id in ("i03", first.item_id))
    rule = rules.find_evidence(row, to)
    assert rule is not None
    contributions = first.contributions or {}
    assert [contributions[f"{name} i03"] for name in ("support", "confidence", "lift")] == [
        rule.support,
        rule.confidence,
        rule.lift,
    ]


def test_the_visitors_own_items_take_part(
    learnt: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    slate = complete_cart(learnt, items, history("u", {"i08": (4, 0.5)}), "i03", count=17)
    assert Reason.BUY_AGAIN in {item.reason for item in slate.items if item.item_id == "i08"}


def test_an_unknown_cart_of_an_unknown_visitor_is_completed_by_nothing(
    learnt: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    assert complete_cart(learnt, items, history(None), "ghost").items == ()


def test_a_loaded_model_completes_alike(
    learnt: RecommendationModel,
    items: ItemFeatures,
    history: Callable[..., UserHistory],
    tmp_path: Path,
) -> None:
    learnt.save(tmp_path)
    who = history("u", {"i08": (4, 0.5)})
    assert complete_cart(RecommendationModel.load(tmp_path), items, who, "i03") == complete_cart(
        learnt, items, who, "i03"
    )


def test_trending_is_a_rise_over_the_usual_that_one_order_of_a_rarity_does_not_make(
    model: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    """Steady: 10 a week by both decays. Rising: 10 to 20. A rarity: its first order."""
    rates = {"i00": (10, 10), "i01": (20, 10), "i02": (1, 0.1)}
    fast, slow = np.zeros((2, len(items.item_ids)), np.float32)
    for position, (now, usual) in enumerate(rates.values()):
        fast[position], slow[position] = now / -np.log(0.5), usual / -np.log(0.9)
    changed = replace(
        items,
        columns={
            **items.columns,
            "orders_decayed_fast": fast * np.float32(0.9999),
            "orders_decayed": slow,
        },
    )
    recommender = Recommender(model, changed, {"trending": Placement("trending")})
    (slate,) = recommender.recommend(
        [RecommendationQuery(history(None), "trending", 5, strict=True)]
    )
    assert [item.item_id for item in slate.items] == ["i01", "i02"]
    assert slate.items[0].score == pytest.approx(np.log((20 + 5) / (10 + 5)), abs=1e-3)
