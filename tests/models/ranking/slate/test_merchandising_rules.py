"""Merchandising rules: what each does to candidates, when and where."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.loading import build, list_configs, load
from features.contracts.errors import BadInput, UnknownName
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.slate.merchandising_rules import Rule, RuleBook, RuleSet, place_pins, reorder

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
CATEGORY = ["Food > Tea > Green", "Food > Tea > Black", "Food > Milk", "Home", "", "Food > Tea"]


@pytest.fixture(scope="module")
def shelf() -> ItemFeatures:
    """a ... f; stock 0, 1, ... 4, unknown."""
    stock = np.array([0, 1, 2, 3, 4, np.nan], np.float32)
    return ItemFeatures(
        NOON,
        np.array(list("abcdef"), object),
        {"stock_on_hand": stock},
        np.array(CATEGORY, object),
        np.array(["X", "X", "Y", "", "", "Y"], object),
    )


def make_rule(**values: Any) -> Rule:
    return build(values, Rule, where="test")


def bind_rule(shelf: ItemFeatures, **values: Any):
    return RuleBook(shelf, {"s": RuleSet({"r": make_rule(**values)})}).find_valid(
        ["s"], "default", NOON
    )


def select_items(shelf: ItemFeatures, **where: Any) -> str:
    (bound,) = bind_rule(shelf, action="hide", **where)
    return "".join(shelf.item_ids[bound.items])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, "abcdef"),
        ({"item_ids": ["b", "ghost"]}, "b"),
        ({"categories": ["Food > Tea"]}, "abf"),
        ({"categories": ["Food > Te"]}, ""),
        ({"categories": ["Home", "Food > Milk"]}, "cd"),
        ({"brands": ["Y"]}, "cf"),
        ({"features": {"stock_on_hand": {"most": 1}}}, "ab"),
        ({"features": {"stock_on_hand": {"least": 2, "most": 3}}}, "cd"),
        (
            {"categories": ["Food"], "brands": ["X"], "features": {"stock_on_hand": {"least": 1}}},
            "b",
        ),
    ],
)
def test_the_items_of_a_rule_meet_all_its_conditions(
    shelf: ItemFeatures, where: Any, expected: str
) -> None:
    assert select_items(shelf, **where) == expected


def test_in_stock_takes_out_what_is_known_to_be_gone(shelf: ItemFeatures) -> None:
    (bound,) = bind_rule(shelf, action="in_stock")
    assert "".join(shelf.item_ids[bound.items]) == "a"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"action": "boost", "item_ids": ["c"], "factor": 1.5}, "abcdef"),  # .5 * 1.5 < .8
        (
            {"action": "boost", "item_ids": ["c"], "factor": 2},
            "acbdef",
        ),  # .5 * 2 = 1: ties keep their order
        ({"action": "boost", "item_ids": ["c"], "factor": 2.1}, "cabdef"),
        ({"action": "bury", "item_ids": ["a"], "factor": 0}, "bcdefa"),
        ({"action": "boost", "item_ids": ["e"], "places": 2}, "abecdf"),
        ({"action": "bury", "item_ids": ["a"], "places": 3}, "bcdaef"),
        ({"action": "boost", "item_ids": ["f"], "places": 99}, "fabcde"),
        ({"action": "boost", "by": "stock_on_hand", "factor": 81}, "edcbaf"),
    ],
)
def test_boosts_and_buries(shelf: ItemFeatures, values: Any, expected: str) -> None:
    relevance = np.array([1.0, 0.8, 0.5, 0.4, 0.2, 0.1])
    order, new_relevance = reorder(bind_rule(shelf, **values), np.arange(6), relevance)
    assert "".join(shelf.item_ids[order]) == expected
    assert (np.diff(new_relevance) <= 0).all()


def test_pins_keep_their_order_and_take_the_next_free_rank(shelf: ItemFeatures) -> None:
    first = make_rule(action="pin", item_ids=["c", "a"], place=2)
    second = make_rule(action="pin", item_ids=["f", "c", "ghost", "b"], place=2)
    rules = RuleBook(shelf, {"s": RuleSet({"one": first, "two": second})}).find_valid(
        ["s"], "default", NOON
    )
    allowed = np.ones(6, bool)

    def list_pinned() -> dict[int, str]:
        pins = place_pins(rules, allowed)
        return {rank: shelf.item_ids[pin.position] for rank, pin in pins.items()}

    assert list_pinned() == {2: "c", 3: "a", 4: "f", 5: "b"}
    allowed[2] = False
    assert list_pinned() == {2: "a", 3: "f", 4: "b"}


def test_a_rule_is_valid_in_its_zones_from_its_first_instant_to_before_its_last(
    shelf: ItemFeatures,
) -> None:
    window = {"valid_from": NOON, "valid_to": NOON + timedelta(hours=1)}
    timed = make_rule(action="hide", **window, zones=["north"])
    assert timed.is_valid("north", NOON)
    assert not timed.is_valid("north", NOON - timedelta(seconds=1))
    assert not timed.is_valid("north", NOON + timedelta(hours=1))
    assert not timed.is_valid("south", NOON)
    assert make_rule(action="hide").is_valid("anywhere", NOON)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"action": "pin", "item_ids": ["a"]}, "a place from 1"),
        ({"action": "pin", "place": 1}, "item_ids"),
        ({"action": "boost"}, "factor or places"),
        ({"action": "boost", "factor": 2, "places": 1}, "factor or places"),
        ({"action": "boost", "factor": 0.5}, "bury"),
        ({"action": "bury", "factor": 2}, "boost"),
        ({"action": "boost", "places": 2, "by": "stock_on_hand"}, "no `by`"),
        ({"action": "hide", "factor": 2}, "hide takes no factor"),
        ({"action": "at_most"}, "needs n"),
        ({"action": "hide", "valid_from": "2024-01-01T00:00:00"}, "needs an offset"),
        ({"action": "hide", "valid_from": NOON, "valid_to": NOON}, "after valid_from"),
        ({"action": "hide", "features": {"stock_on_hand": {}}}, "least or most"),
        ({"action": "hid"}, "action"),
        ({"action": "hide", "brand": ["X"]}, "Did you mean 'brands'"),
    ],
)
def test_what_makes_no_sense_is_refused(values: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make_rule(**values)


def test_a_feature_that_no_item_has_is_refused_with_the_nearest_name(shelf: ItemFeatures) -> None:
    with pytest.raises(UnknownName, match="stock_on_hand"):
        bind_rule(shelf, action="hide", features={"stock_on_hnd": {"least": 1}})


def test_an_overlay_changes_one_rule_of_a_set(tmp_path: Path) -> None:
    assert "assortment" in list_configs("rules")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "assortment.yaml").write_text(
        "rules:\n"
        "  few_of_a_brand: {n: 2}\n"
        "  gone: {action: hide, brands: [X], valid_from: 2024-01-01T00:00:00Z}\n"
    )
    rules = load("rules/assortment", RuleSet, overlay=tmp_path).rules
    assert (rules["few_of_a_brand"].n, rules["few_of_a_brand"].action) == (2, "at_most")
    assert rules["gone"].valid_from == datetime(2024, 1, 1, tzinfo=UTC)


# --- in a slate ---


@pytest.fixture
def make_slate(
    model: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> Callable[..., Slate]:
    """Items i00 ... i15 by popularity (even: Milk, odd: Tea), under the rules given."""

    def recommend(
        rules: dict[str, dict[str, Any]],
        count: int = 4,
        placement: dict[str, Any] | None = None,
        **query: Any,
    ):
        sets = {"s": RuleSet({name: make_rule(**values) for name, values in rules.items()})}
        known = {"home": Placement("all", rules=("s",), **(placement or {}))}
        request = RecommendationQuery(history(None), "home", count, **query)
        return Recommender(model, items, known, sets).recommend([request])[0]

    return recommend


def list_ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def test_a_pinned_item_is_at_its_rank_though_no_ranker_scored_it(
    make_slate: Callable[..., Slate],
) -> None:
    slate = make_slate(
        {"new": {"action": "pin", "item_ids": ["z-new", "i03"], "place": 2}}, explain=True
    )
    assert list_ids(slate) == ["i00", "z-new", "i03", "i01"]
    assert [item.rank for item in slate.items] == [1, 2, 3, 4]
    assert [item.reason for item in slate.items] == [
        Reason.POPULAR,
        Reason.PROMOTED,
        Reason.PROMOTED,
        Reason.POPULAR,
    ]
    assert [(applied.rule, applied.effect) for applied in slate.items[1].rules or ()] == [
        ("s.new", "pinned")
    ]
    assert slate.items[0].rules == ()


def test_a_pin_never_shows_what_the_query_leaves_out(make_slate: Callable[..., Slate]) -> None:
    slate = make_slate(
        {"new": {"action": "pin", "item_ids": ["i07"], "place": 1}},
        exclude_item_ids=frozenset({"i07"}),
    )
    assert list_ids(slate) == ["i00", "i01", "i02", "i03"]


def test_at_most_two_of_a_category_and_the_answer_says_what_was_withheld(
    make_slate: Callable[..., Slate],
) -> None:
    few = {"few": {"action": "at_most", "n": 1, "per": "category_2", "categories": ["Food > Milk"]}}
    slate = make_slate(few, explain=True)
    assert list_ids(slate) == ["i00", "i01", "i03", "i05"]
    assert [(item.item_id, item.rule, item.effect) for item in slate.withheld] == [
        ("i02", "s.few", "at most 1 of its kind")
    ]
    together = make_slate({"few": {"action": "at_most", "n": 1, "categories": ["Food"]}}, count=10)
    assert list_ids(together) == ["i00"]


def test_a_hidden_item_is_withheld_by_its_rule(make_slate: Callable[..., Slate]) -> None:
    slate = make_slate({"gone": {"action": "hide", "item_ids": ["i01"]}}, explain=True)
    assert list_ids(slate) == ["i00", "i02", "i03", "i04"]
    assert [(item.item_id, item.rule) for item in slate.withheld] == [("i01", "s.gone")]
    assert make_slate({"gone": {"action": "hide", "item_ids": ["i01"]}}).withheld == ()


def test_a_rule_that_is_not_valid_now_does_nothing(make_slate: Callable[..., Slate]) -> None:
    soon = {"gone": {"action": "hide", "item_ids": ["i00"], "valid_from": NOON}}
    assert list_ids(make_slate(soon, at=NOON))[0] == "i01"
    assert list_ids(make_slate(soon, at=NOON - timedelta(minutes=1)))[0] == "i00"
    north = {"gone": {"action": "hide", "item_ids": ["i00"], "zones": ["north"]}}
    assert list_ids(make_slate(north, zone="north"))[0] == "i01"
    assert list_ids(make_slate(north))[0] == "i00"


def test_no_rule_applies_to_a_given_list(make_slate: Callable[..., Slate]) -> None:
    slate = make_slate(
        {"gone": {"action": "hide", "item_ids": ["i00"]}}, candidate_ids=("i00", "i03")
    )
    assert list_ids(slate) == ["i00", "i03"]


def test_diversity_is_the_placements_unless_the_query_says(
    make_slate: Callable[..., Slate],
) -> None:
    assert list_ids(make_slate({}, placement={"diversity": 0.9})) == ["i00", "i01", "i02", "i03"]
    milk = frozenset({"i00", "i02", "i04", "i05"})
    assert list_ids(make_slate({}, placement={"diversity": 0.9}, allowed_item_ids=milk)) == [
        "i00",
        "i05",
        "i02",
        "i04",
    ]
    assert (
        list_ids(
            make_slate({}, placement={"diversity": 0.9}, allowed_item_ids=milk, diversity=0.0)
        )[1]
        == "i02"
    )


def test_a_placement_cannot_name_rules_that_do_not_exist(
    model: RecommendationModel, items: ItemFeatures
) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'spring'"):
        Recommender(
            model, items, {"home": Placement("all", rules=("sprin",))}, {"spring": RuleSet()}
        )


def test_a_set_names_placements_that_follow_it_and_other_rules_leave_the_recommender_as_it_was(
    model: RecommendationModel, items: ItemFeatures, history: Callable[..., UserHistory]
) -> None:
    placements = {"home": Placement("all"), "other": Placement("all", rules=("files",))}
    plain = Recommender(model, items, placements, {"files": RuleSet()})

    def list_slate(recommender: Recommender, placement: str) -> list[str]:
        query = RecommendationQuery(history(None), placement, 3)
        return list_ids(recommender.recommend([query])[0])

    hide = RuleSet({"no_first": make_rule(action="hide", item_ids=["i00"])}, placements=("home",))
    ruled = plain.with_rules({"files": RuleSet(), "spring": hide})
    assert list_slate(plain, "home")[0] == "i00"
    assert "i00" not in list_slate(ruled, "home")
    assert list_slate(ruled, "other") == list_slate(plain, "other")
    assert ruled.placements["home"].rules == ("spring",)
    assert plain.placements["home"].rules == ()
    with pytest.raises(UnknownName, match="Did you mean 'home'"):
        plain.with_rules({"files": RuleSet(), "spring": RuleSet(placements=("hoem",))})
    with pytest.raises(UnknownName, match="item feature"):
        broken = make_rule(action="hide", features={"stock_on_hnd": {"least": 1}})
        plain.with_rules({"files": RuleSet(), "spring": RuleSet({"r": broken})})
