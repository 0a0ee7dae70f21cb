"""True reasons, and effects of a visit on a slate: views, the item on the page, a purchase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from models.ranking.catalogue import Catalogue
from models.ranking.current_visit import find_focus
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender

ITEMS = st.sampled_from([f"i{n:02}" for n in range(16)])


def list_ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bought=st.dictionaries(ITEMS, st.tuples(st.integers(1, 4), st.floats(0.1, 9)), max_size=5),
    viewed=st.lists(ITEMS, unique=True, max_size=6),
    placement=st.sampled_from(["all", "new"]),
)
def test_a_view_is_a_reason_only_where_it_carried_the_score(
    recommender: Recommender,
    history: Callable[..., UserHistory],
    bought: dict,
    viewed: list[str],
    placement: str,
) -> None:
    who = history("u", bought, tuple(viewed))
    slate = recommender.recommend([RecommendationQuery(who, placement, 10)])[0]
    blind = replace(who, viewed_item_ids=(), viewed_at=())
    given = tuple(item.item_id for item in slate.items)
    # The same items, scored without any view (the order of a given list does not change its
    # scores).
    without = recommender.recommend(
        [RecommendationQuery(blind, "all", len(given), candidate_ids=given)]
    )[0]
    scores = {item.item_id: item.score for item in without.items}
    focus = find_focus(recommender._catalogue, who)
    ease = recommender.model.retrieval.ease
    row = {str(item): n for n, item in enumerate(ease.item_ids)}
    for item in slate.items:
        if item.reason != Reason.BECAUSE_YOU_VIEWED:
            assert item.because_item_id is None
            continue
        assert item.because_item_id in viewed
        if focus is not None and focus[recommender._catalogue.index[item.item_id]]:
            continue  # moved up by the category that is being browsed
        assert not bought or item.score > scores[item.item_id] - 1e-9
        if item.because_item_id != item.item_id:
            weights = {
                item_id: ease.weights[row[item_id], row[item.item_id]]
                for item_id in viewed
                if item_id in row
            }
            assert weights[item.because_item_id] == max(weights.values()) > 0


def test_no_view_is_a_reason_where_the_simple_policy_serves(
    recommender: Recommender, history: Callable[..., UserHistory]
) -> None:
    who = history("u", {"i02": (2, 1.0)}, ("i05", "i08"))
    query = RecommendationQuery(who, "all", 10)
    (slate,) = recommender.recommend([query], policy="buy_again")
    assert {item.reason for item in slate.items} == {Reason.BUY_AGAIN, Reason.POPULAR}


def test_the_item_on_the_page_is_the_reason_of_its_neighbours(
    recommender: Recommender, history: Callable[..., UserHistory]
) -> None:
    query = RecommendationQuery(history(None), "similar", 3, context_item_ids=("i03",))
    assert {item.because_item_id for item in recommender.recommend([query])[0].items} == {"i03"}
    two = replace(query, context_item_ids=("i03", "i05"))
    assert {item.because_item_id for item in recommender.recommend([two])[0].items} == {None}


def test_an_unknown_visitor_in_front_of_an_item_gets_what_goes_with_it(
    recommender: Recommender, history: Callable[..., UserHistory]
) -> None:
    query = RecommendationQuery(history(None), "all", 6, context_item_ids=("i09",))
    (slate,) = recommender.recommend([query])
    (viewed,) = recommender.recommend(
        [RecommendationQuery(history(None, viewed=("i09",)), "all", 7)]
    )
    assert slate.fallback is None
    assert slate.items[0].reason == Reason.BECAUSE_YOU_VIEWED
    assert slate.items[0].because_item_id == "i09"
    assert list_ids(slate) == [item for item in list_ids(viewed) if item != "i09"][:6]


@pytest.mark.parametrize("bought", [{}, {"i00": (3, 1.0), "i02": (2, 2.0)}])
def test_after_three_views_in_a_category_every_other_rank_is_from_there(
    recommender: Recommender, history: Callable[..., UserHistory], items: ItemFeatures, bought: dict
) -> None:
    category = dict(zip(items.item_ids, items.category, strict=True))
    two = recommender.recommend(
        [RecommendationQuery(history("u", bought, ("i05", "i07")), "all", 6)]
    )[0]
    three = recommender.recommend(
        [RecommendationQuery(history("u", bought, ("i05", "i07", "i11")), "all", 6)]
    )[0]
    of_tea = [category[item] == "Food > Tea" for item in list_ids(three)]
    assert of_tea[::2] == [True] * 3
    assert sum(of_tea) >= sum(category[item] == "Food > Tea" for item in list_ids(two))


def test_a_visit_is_about_the_deepest_category_with_three_views_of_today(
    items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    names = ["A > B > C", "A > B > C", "A > B > D", "A > X", "E", "E", "E", *["F"] * 10]
    catalogue = Catalogue(replace(items, category=np.array(names, object)), ())

    def list_focus(*viewed: str) -> list[str]:
        focus = find_focus(catalogue, history(None, viewed=viewed))
        return [] if focus is None else sorted({names[n] for n in np.flatnonzero(focus)})

    assert list_focus("i00", "i01") == []
    assert list_focus("i00", "i01", "i02") == ["A > B > C", "A > B > D"]
    assert list_focus("i00", "i01", "i03") == []  # a department alone is too wide
    assert list_focus("i04", "i05", "i06") == ["E"]  # unless the shop has nothing below
    assert list_focus("i04", "i05", "ghost") == []
    old = replace(history(None, viewed=("i04", "i05", "i06")), viewed_at=(0, 0, 0))
    assert find_focus(catalogue, old) is None


# --- after a purchase ---


@pytest.fixture(scope="module")
def sells_again(model: RecommendationModel, items: ItemFeatures) -> Recommender:
    """i02 (milk) is bought again by nine of ten buyers, i04 (a lamp) by nobody, i06 by few."""
    rate, buyers = np.full(17, 0.5, np.float32), np.full(17, 100, np.float32)
    rate[[2, 4, 6]] = 0.9, 0.0, 0.1
    known = replace(items, columns={**items.columns, "repeat_rate": rate, "buyers": buyers})
    return Recommender(model, known, {"home": Placement("all"), "again": Placement("buy_again")})


def test_what_is_bought_once_in_a_lifetime_leaves_and_what_is_bought_weekly_stays(
    sells_again: Recommender, history: Callable[..., UserHistory]
) -> None:
    before = history("u", {"i00": (3, 1.0), "i08": (2, 2.0)})
    after = history(
        "u", {"i00": (3, 1.0), "i02": (1, 0.0), "i04": (1, 0.0), "i06": (1, 0.0), "i08": (2, 2.0)}
    )
    for policy in ("ranker", "buy_again"):
        slates = sells_again.recommend(
            [RecommendationQuery(who, "home", 12) for who in (before, after)], policy=policy
        )
        assert "i04" in list_ids(slates[0])
        assert "i04" not in list_ids(slates[1])
    again = list_ids(
        sells_again.recommend([RecommendationQuery(after, "again", 5, strict=True)])[0]
    )
    # i02 was bought last, like i06; most buyers come back for it.
    assert "i04" not in again
    assert again.index("i02") < again.index("i06")
    assert again[-1] == "i06"


def test_what_was_just_bought_drops_by_its_repeat_rate_and_is_back_when_the_visit_is_over(
    sells_again: Recommender, history: Callable[..., UserHistory]
) -> None:
    bought = {"i00": (1, 3.0), "i06": (1, 0.0)}
    (slate,) = sells_again.recommend(
        [RecommendationQuery(history("u", bought), "again", 2, strict=True)]
    )
    assert list_ids(slate) == ["i00", "i06"]  # a decayed frequency of .73 against 1 times a tenth
    later = history("u", {"i00": (1, 3.0), "i06": (1, 0.1)})
    (slate,) = sells_again.recommend([RecommendationQuery(later, "again", 2, strict=True)])
    assert list_ids(slate) == ["i06", "i00"]
