"""What a storefront may expect of a slate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from features.contracts.errors import BadInput, UnknownName
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from models.ranking.model import CandidateConfig, Candidates, RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import Rule, RuleSet
from models.retrieval.ease import Ease

BUYER = {"i00": (1, 5.0), "i02": (3, 1.0), "i04": (1, 0.0)}


@pytest.fixture
def recommend(
    recommender: Recommender, history: Callable[..., UserHistory]
) -> Callable[..., Slate]:
    def recommend_one(
        placement: str = "all", who: UserHistory | None = None, count: int = 5, **options: Any
    ) -> Slate:
        policy = options.pop("policy", None)
        query = RecommendationQuery(who or history("u", BUYER), placement, count, **options)
        return recommender.recommend([query], policy=policy)[0]

    return recommend_one


def list_ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def make_queries(shoppers: dict[str, UserHistory]) -> list[RecommendationQuery]:
    return [
        RecommendationQuery(history, name, 8, explain=True)
        for name in ("all", "new")
        for history in shoppers.values()
    ]


def test_an_answer_does_not_depend_on_what_else_is_asked(
    recommender: Recommender, shoppers: dict[str, UserHistory]
) -> None:
    all_queries = make_queries(shoppers)
    together = recommender.recommend(all_queries)
    assert [recommender.recommend([query])[0] for query in all_queries] == together
    assert recommender.recommend(all_queries[::-1]) == together[::-1]


def test_a_filter_changes_no_score(
    recommender: Recommender, shoppers: dict[str, UserHistory]
) -> None:
    for history in shoppers.values():
        whole = RecommendationQuery(history, "all", 20, strict=True)
        scores = {item.item_id: item.score for item in recommender.recommend([whole])[0].items}
        allowed = frozenset(list(scores)[1::2])
        (some,) = recommender.recommend([replace(whole, allowed_item_ids=allowed)])
        assert {item.item_id: item.score for item in some.items} == {
            item_id: scores[item_id] for item_id in allowed
        }


def test_a_rule_that_touches_no_item_changes_no_slate(
    recommender: Recommender, shoppers: dict[str, UserHistory]
) -> None:
    idle = {"idle": RuleSet({"nothing": Rule("hide", item_ids=("ghost",))})}
    placements = {
        name: replace(placement, rules=("idle",))
        for name, placement in recommender.placements.items()
    }
    ruled = Recommender(recommender.model, recommender.items, placements, idle)
    requests = [
        replace(query, count=count) for query in make_queries(shoppers) for count in (1, 8, 17)
    ]
    assert ruled.recommend(requests) == recommender.recommend(requests)


@pytest.mark.parametrize("n_items", [0, 1, 3])
def test_it_warms_up_however_few_items_there_are(
    recommender: Recommender, items: ItemFeatures, n_items: int
) -> None:
    some = replace(
        items,
        columns={name: values[:n_items] for name, values in items.columns.items()},
        **{name: getattr(items, name)[:n_items] for name in ("item_ids", "category", "brand")},
    )
    small = Recommender(recommender.model, some, recommender.placements)
    small.warm_up()
    unknown = RecommendationQuery(UserHistory.unknown(some.as_of), "all", 5)
    assert len(small.recommend([unknown])[0].items) == n_items


@pytest.mark.parametrize("viewed", [(), ("i05", "i07", "i11")])
def test_slate_columns_are_those_of_the_slate(
    recommender: Recommender, shoppers: dict[str, UserHistory], viewed: tuple[str, ...]
) -> None:
    at = (int(recommender.items.as_of.timestamp()) - 60,) * len(viewed)
    requests = []
    for history in shoppers.values():
        visitor = replace(history, viewed_item_ids=viewed, viewed_at=at)
        requests += [
            RecommendationQuery(visitor, "all", 8),
            RecommendationQuery(visitor, "new", 8, strict=True),
            RecommendationQuery(visitor, "all", 8, candidate_ids=("i01", "ghost", "i03")),
        ]
    expected = [
        [(item.item_id, item.score, item.reason) for item in slate.items]
        for slate in recommender.recommend(requests)
    ]
    columns = recommender.recommend_columns(requests)
    assert [
        list(zip(slate.item_ids, slate.scores, slate.reasons, strict=True)) for slate in columns
    ] == expected
    assert recommender.recommend_columns([]) == []


@pytest.mark.parametrize(
    ("own", "expected"), [(0, set()), (1, {"i04"}), (2, {"i00", "i04"}), (4, {"i00", "i02", "i04"})]
)
def test_of_what_was_bought_the_most_frequent_are_candidates_and_of_equals_the_first(
    recommender: Recommender, history: Callable[..., UserHistory], own: int, expected: set[str]
) -> None:
    sources = dict.fromkeys(("ease", "ease_decayed", "als", "popular", "promoted"), 0)
    bound = Recommender(
        recommender.model,
        recommender.items,
        {"own": Placement("all", candidates=sources | {"own": own})},
    )
    who = history("u", {"i00": (1, 1.0), "i02": (1, 1.0), "i04": (1, 0.0)})
    assert (
        set(list_ids(bound.recommend([RecommendationQuery(who, "own", 5, strict=True)])[0]))
        == expected
    )


def test_a_model_of_an_older_version_is_refused_by_what_to_do(
    model: RecommendationModel, tmp_path: Path
) -> None:
    model.save(tmp_path)
    meta = json.loads((tmp_path / "model.json").read_text())
    del meta["calibrations"]
    (tmp_path / "model.json").write_text(json.dumps(meta))
    with pytest.raises(BadInput, match="older version"):
        RecommendationModel.load(tmp_path)


def test_a_loaded_model_gives_the_same_slates(
    model: RecommendationModel,
    recommender: Recommender,
    shoppers: dict[str, UserHistory],
    tmp_path: Path,
) -> None:
    model.save(tmp_path)
    loaded = Recommender(
        RecommendationModel.load(tmp_path), recommender.items, recommender.placements
    )
    assert loaded.recommend(make_queries(shoppers)) == recommender.recommend(make_queries(shoppers))
    few = replace(model, candidates=Candidates(all=CandidateConfig(ease=1, als=1)), query_weight=5)
    few.save(tmp_path / "few")
    again = RecommendationModel.load(tmp_path / "few")
    assert (again.candidates, again.query_weight) == (few.candidates, 5)
    with pytest.raises(BadInput, match="no model here"):
        RecommendationModel.load(tmp_path / "elsewhere")


def test_scores_fall_ranks_rise_and_equal_scores_go_by_item_id(
    recommender: Recommender, shoppers: dict[str, UserHistory]
) -> None:
    for slate in recommender.recommend(make_queries(shoppers)):
        order = [(-item.score, item.item_id) for item in slate.items]
        assert order == sorted(order)
        assert [item.rank for item in slate.items] == list(range(1, len(order) + 1))
        assert len(set(list_ids(slate))) == len(order)


def test_bought_again_goes_by_decayed_frequency(recommend: Callable[..., Slate]) -> None:
    slate = recommend("buy_again", strict=True)
    assert list_ids(slate) == ["i02", "i04", "i00"]
    assert [item.score for item in slate.items] == pytest.approx([0.9 + 0.81 + 0.729, 1, 0.9**5])
    assert {item.reason for item in slate.items} == {Reason.BUY_AGAIN}


def test_the_simple_policy_is_buying_again_with_popular_items_behind(
    recommend: Callable[..., Slate],
) -> None:
    assert list_ids(recommend(policy="buy_again", count=6)) == [
        "i02",
        "i04",
        "i00",
        "i01",
        "i03",
        "i05",
    ]


def test_ease_alone_ranks_by_the_number_of_orders_and_popular_items_behind(
    model: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    # Only i00 speaks for i09, and twice as strongly after three orders as after one: ln(4) / ln(2).
    ids = np.array([f"i{n:02}" for n in range(16)], object)
    weights = sparse.csr_matrix(([0.5, 0.6], ([0, 2], [9, 11])), shape=(16, 16), dtype=np.float32)
    retrieval = replace(model.retrieval, ease=Ease(ids, weights, "log"))
    placements = {"new": Placement("new", exclude_purchased=True)}
    recommender = Recommender(replace(model, retrieval=retrieval), items, placements)
    who = history("u", {"i00": (3, 1.0), "i02": (1, 1.0)})
    (slate,) = recommender.recommend([RecommendationQuery(who, "new", 4)], policy="ease")
    assert list_ids(slate) == ["i09", "i11", "i01", "i03"]
    assert [item.reason for item in slate.items[:2]] == [Reason.SIMILAR] * 2
    expected = [0.5 * math.log(4), 0.6 * math.log(2)]
    assert [item.score for item in slate.items[:2]] == pytest.approx(expected, rel=1e-3)


def test_a_short_slate_is_filled_with_popular_items_that_say_so_unless_strict(
    recommend: Callable[..., Slate],
) -> None:
    filled = recommend("buy_again", count=5).items
    assert [item.item_id for item in filled[3:]] == ["i01", "i03"]
    assert [item.reason for item in filled[3:]] == [Reason.POPULAR] * 2
    assert filled[2].score > filled[3].score > filled[4].score
    assert len(recommend("buy_again", count=5, strict=True).items) == 3


@pytest.mark.parametrize("placement", ["all", "new", "buy_again"])
def test_who_is_unknown_gets_popular_items_and_the_slate_names_the_fallback(
    recommend: Callable[..., Slate], history: Callable[..., UserHistory], placement: str
) -> None:
    slate = recommend(placement, history(None), count=3)
    assert (list_ids(slate), slate.fallback) == (["i00", "i01", "i02"], "popular")


@pytest.mark.parametrize("placement", ["all", "new", "buy_again", "similar"])
def test_who_is_unknown_gets_nothing_where_the_query_is_strict(
    recommend: Callable[..., Slate], history: Callable[..., UserHistory], placement: str
) -> None:
    slate = recommend(placement, history(None), strict=True, context_item_ids=("ghost",))
    assert (list_ids(slate), slate.fallback) == ([], None)


def test_what_was_bought_stays_out_where_the_placement_or_the_query_says_so(
    recommend: Callable[..., Slate],
) -> None:
    for slate in (recommend("new", count=30), recommend("all", count=30, exclude_purchased=True)):
        assert not set(list_ids(slate)) & set(BUYER)


def test_a_view_moves_the_slate_towards_what_goes_with_it(
    recommend: Callable[..., Slate], recommender: Recommender, history: Callable[..., UserHistory]
) -> None:
    ease = recommender.model.retrieval.ease
    weights = ease.weights.toarray()[list(ease.item_ids).index("i09")]
    slate = recommend("all", history(None, viewed=("i09",)), count=5)
    assert slate.fallback is None
    assert slate.items[0].item_id == ease.item_ids[weights.argmax()] != "i00"
    assert slate.items[0].reason == Reason.BECAUSE_YOU_VIEWED


def test_neighbours_of_the_item_on_the_page_without_itself(recommend: Callable[..., Slate]) -> None:
    slate = recommend("similar", context_item_ids=("i03",), count=4)
    assert "i03" not in list_ids(slate)
    assert all(int(item[1:]) % 2 for item in list_ids(slate))
    assert {item.reason for item in slate.items} == {Reason.SIMILAR}


def test_an_item_that_the_model_never_saw_can_arrive(recommend: Callable[..., Slate]) -> None:
    slate = recommend("new_arrivals", strict=True)
    assert (list_ids(slate), slate.items[0].reason) == (["z-new"], Reason.NEW)


def test_only_allowed_items_and_none_excluded(recommend: Callable[..., Slate]) -> None:
    allowed = frozenset({"i01", "i02", "i04", "i05", "gone"})
    for placement in ("all", "trending", "buy_again"):
        slate = recommend(
            placement, allowed_item_ids=allowed, exclude_item_ids=frozenset({"i04"}), count=30
        )
        assert set(list_ids(slate)) == {"i01", "i02", "i05"}


def test_a_given_list_comes_back_whole_with_unknown_items_at_its_end(
    recommend: Callable[..., Slate], history: Callable[..., UserHistory]
) -> None:
    given = ("ghost", "i07", "i02", "phantom", "i04", "i07")
    for who in (history("u", BUYER), history(None)):
        slate = recommend("all", who, candidate_ids=given, count=10)
        assert sorted(list_ids(slate)[:3]) == ["i02", "i04", "i07"]
        assert list_ids(slate)[3:] == ["ghost", "phantom"]
    assert list_ids(recommend("all", candidate_ids=given, count=10))[2] == "i07"


def test_what_was_searched_for_orders_a_given_list_and_the_visitor_what_matches_alike(
    recommender: Recommender, items: ItemFeatures, shoppers: dict[str, UserHistory]
) -> None:
    """Half of the items are coffee; among these the order is the visitor's own."""
    given = tuple(items.item_ids.tolist())
    kinds = ("Ground coffee", "Black tea")
    title = np.array([kinds[n % 2] for n in range(len(given))], object)
    drinks = np.full(len(given), "Drinks", object)
    titled = Recommender(
        recommender.model, replace(items, title=title, category=drinks), recommender.placements
    )
    coffee = {item_id for item_id, text in zip(given, title, strict=True) if "coffee" in text}
    for who in (*shoppers.values(), UserHistory.unknown(items.as_of)):
        query = RecommendationQuery(who, "all", len(given), candidate_ids=given, explain=True)
        plain, found = titled.recommend([query, replace(query, search_text="coffe")])
        own_order = [item_id for item_id in list_ids(plain) if item_id in coffee]
        assert [item_id for item_id in list_ids(found) if item_id in coffee] == own_order
        if who.user_id is None:
            assert list_ids(found)[: len(coffee)] == own_order
        scores = {item.item_id: item.score for item in plain.items}
        for item in found.items:
            assert item.contributions is not None
            added = item.contributions.get("query", 0.0)
            assert (added > 0) == (item.item_id in coffee)
            assert item.score == pytest.approx(scores[item.item_id] + added)
        lighter = replace(titled.model, query_weight=titled.model.query_weight / 4)
        (less,) = Recommender(lighter, titled.items, titled.placements).recommend(
            [replace(query, search_text="coffe")]
        )
        share = 1 if who.user_id is None else 4  # learnt of those whom a ranker knows
        added_before = {item.item_id: item.contributions.get("query") for item in found.items}
        for item in less.items:
            assert item.contributions is not None
            if item.item_id in coffee:
                added = item.contributions["query"]
                assert added == pytest.approx(added_before[item.item_id] / share)


def test_a_given_list_keeps_what_was_bought_unless_the_query_leaves_it_out(
    recommend: Callable[..., Slate],
) -> None:
    given = ("i07", "i02", "i04")
    slate = recommend("new", candidate_ids=given, count=10)
    assert sorted(list_ids(slate)) == ["i02", "i04", "i07"]
    assert {item.reason for item in slate.items if item.item_id in BUYER} == {Reason.BUY_AGAIN}
    assert list_ids(recommend("all", candidate_ids=given, count=10, exclude_purchased=True)) == [
        "i07"
    ]
    assert list_ids(
        recommend("all", candidate_ids=given, count=10, allowed_item_ids=frozenset({"i02"}))
    ) == ["i02"]


def test_a_slate_longer_than_the_catalogue_has_no_more_than_its_items(
    recommender: Recommender, shoppers: dict[str, UserHistory], items: ItemFeatures
) -> None:
    for placement in recommender.placements:
        (slate,) = recommender.recommend([RecommendationQuery(shoppers["u01"], placement, 1000)])
        assert 0 < len(slate.items) <= len(items.item_ids)


def test_contributions_add_up_to_the_score_less_one_constant(
    recommend: Callable[..., Slate],
) -> None:
    slate = recommend("all", explain=True, count=8, strict=True)
    contributions = [item.contributions or {} for item in slate.items]
    sums = [
        sum(value for name, value in by_name.items() if not name.startswith("chance by "))
        for by_name in contributions
    ]
    constants = [item.score - total for item, total in zip(slate.items, sums, strict=True)]
    assert constants == pytest.approx([constants[0]] * len(constants), abs=1e-6)
    assert recommend("all").items[0].contributions is None


def test_an_unknown_placement_is_refused_with_the_nearest_name(
    recommend: Callable[..., Slate],
) -> None:
    with pytest.raises(UnknownName, match="trending"):
        recommend("trendin")


def test_items_of_unknown_history_do_not_matter(
    recommend: Callable[..., Slate], history: Callable[..., UserHistory]
) -> None:
    with_ghost: Sequence[str] = list_ids(
        recommend("buy_again", history("u", BUYER | {"ghost": (9, 0.0)}), strict=True)
    )
    assert list(with_ghost) == ["i02", "i04", "i00"]
    assert np.isfinite(
        [item.score for item in recommend("all", history("u", {"ghost": (9, 0.0)})).items]
    ).all()
