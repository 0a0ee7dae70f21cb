"""A reason is given only where its cause is there: each cause taken out of a shop, and put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery
from models.compiled.source_chances import NO_SOURCE, SKIPPED, likeliest_sources
from models.ranking.catalogue import Catalogue
from models.ranking.model import RecommendationModel
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from models.ranking.scorers.popularity import make_fixed_lists
from models.ranking.slate.assemble import Exploration
from models.ranking.slate.merchandising_rules import Rule, RuleSet

N = 6
SOLD = np.array([4, 3, 2, 1, 0, 0], np.float32)


def make_items(**columns: list[float]) -> ItemFeatures:
    from tests.shops.event_tables import AS_OF

    ids = np.array([f"i{n}" for n in range(N)], object)
    known = {
        "orders_4w": SOLD,
        "orders_decayed": SOLD,
        "orders_decayed_fast": SOLD * 0.2,
        "age_days": np.full(N, 300),
    }
    arrays = {name: np.array(values, np.float32) for name, values in (known | columns).items()}
    return ItemFeatures(AS_OF, ids, arrays, np.full(N, "", object), np.full(N, "", object))


def reasons_of(name: str, **columns: list[float]) -> dict[str, Reason]:
    """Return the reason of each item of a fixed list by its id."""
    items = make_items(**columns)
    scored = make_fixed_lists(Catalogue(items, ()))[name]
    reasons = scored.reasons_of(np.arange(len(scored.positions)))
    return dict(zip(items.item_ids[scored.positions].tolist(), reasons, strict=True))


def test_popular_is_what_somebody_bought_and_new_what_nobody_has() -> None:
    assert reasons_of("popular") == dict.fromkeys(("i0", "i1", "i2", "i3"), Reason.POPULAR)
    assert reasons_of("popular", orders_4w=[0] * N) == {}
    general = Catalogue(make_items(), ()).general_reasons(np.arange(N)).tolist()
    assert general == [Reason.POPULAR] * 4 + [Reason.NEW] * 2


def test_what_nobody_ordered_lately_follows_by_its_views() -> None:
    reasons = reasons_of("popular", views_1w=[7, 0, 0, 0, 5, 9])
    assert list(reasons)[4:] == ["i5", "i4"]
    assert list(reasons.values()) == [Reason.POPULAR] * 4 + [Reason.NEW] * 2
    scored = make_fixed_lists(Catalogue(make_items(views_1w=[7, 0, 0, 0, 5, 9]), ()))["popular"]
    assert (np.diff(scored.scores) < 0).all()
    assert scored.scores[-1] > 0


def test_nothing_is_trending_in_a_steady_shop_nor_by_one_order() -> None:
    assert reasons_of("trending") == {}
    one = [0, 0, 0, 0, 1, 0]
    assert reasons_of("trending", orders_decayed=one, orders_decayed_fast=one) == {}
    many = [0, 0, 0, 0, 9, 0]
    found = reasons_of("trending", orders_decayed=many, orders_decayed_fast=many)
    assert found == {"i4": Reason.TRENDING}


def test_nothing_is_new_in_an_old_shop_and_not_all_in_a_young_one() -> None:
    assert reasons_of("new") == {}
    assert reasons_of("new", age_days=[300, 300, 300, 300, 300, 2]) == {"i5": Reason.NEW}
    assert reasons_of("new", age_days=[6, 6, 6, 5, 5, 1]) == {"i5": Reason.NEW}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.0], NO_SOURCE),  # a reach of 0 is no promotion
        ([np.nan, np.nan], NO_SOURCE),
        ([-1.0, 0.0], NO_SOURCE),
        ([0.0, 0.5], 1),
        ([0.2, 0.0], 0),
        ([0.2, 0.5], 1),
    ],
)
def test_a_source_speaks_only_with_a_score_above_0(scores: list[float], expected: int) -> None:
    knots = np.array([[0.0, 1.0], [0.0, 1.0]])
    chances = np.array([[0.1, 0.2], [0.3, 0.4]])
    matrix = np.array([[*scores, np.nan], [*scores, 1.0]], np.float32)
    found = likeliest_sources(matrix, np.array([0, 1]), 2, knots, chances)
    assert found.tolist() == [expected, SKIPPED]


def test_promoted_needs_a_promotion(recommender: Recommender, shoppers) -> None:
    def reasons(reach: float) -> set[Reason]:
        items = recommender.items
        planned = np.full(len(items.item_ids), reach, np.float32)
        columns = {**items.columns, "promotion_reach_next_4w": planned}
        bound = Recommender(
            recommender.model, replace(items, columns=columns), {"home": Placement("all")}
        )
        queries = [RecommendationQuery(history, "home", 20) for history in shoppers.values()]
        ranked = [replace(query, candidate_ids=tuple(items.item_ids)) for query in queries]
        slates = bound.recommend([*queries, *ranked])
        return {item.reason for slate in slates for item in slate.items}

    assert Reason.PROMOTED not in reasons(0.0)


BOUGHT = {"i02": (4, 0.5), "i04": (3, 1.0)}


@dataclass(frozen=True)
class Cause:
    """What a visitor did and the request holds, once with the cause of a reason, once without.

    allowed   the only items of which the reason can be true; None: any
    """

    placement: Placement
    present: dict[str, Any]
    absent: dict[str, Any]
    allowed: frozenset[str] | None = None


DRAWN = Exploration(places=3)
PINNED = {"sale": RuleSet({"tea": Rule("pin", place=2, item_ids=("i09",))})}
ODD = frozenset(f"i{n:02}" for n in range(1, 16, 2))  # odd shoppers buy odd items only
CAUSES = {
    Reason.BUY_AGAIN: Cause(Placement("all"), {"bought": BOUGHT}, {}, frozenset(BOUGHT)),
    Reason.BECAUSE_YOU_VIEWED: Cause(Placement("all"), {"viewed": ("i09",)}, {}, ODD),
    Reason.SIMILAR: Cause(Placement("similar"), {"page": ("i03",)}, {"page": ("ghost",)}, ODD),
    Reason.BOUGHT_TOGETHER: Cause(
        Placement("bought_together"), {"page": ("i03",)}, {"page": ("ghost",)}, ODD
    ),
    Reason.PROMOTED: Cause(
        Placement("trending", rules=("sale",)), {}, {"excluded": {"i09"}}, frozenset({"i09"})
    ),
    Reason.EXPLORATION: Cause(Placement("trending", exploration=DRAWN), {"draw": "r1"}, {}),
}


@pytest.mark.parametrize("reason", CAUSES)
def test_a_reason_is_there_with_its_cause_and_gone_without_it(
    reason: Reason,
    model: RecommendationModel,
    items: ItemFeatures,
    history: Callable[..., UserHistory],
) -> None:
    cause = CAUSES[reason]
    bound = Recommender(model, items, {"page": cause.placement}, PINNED)

    def find_items(about: dict[str, Any]) -> set[str]:
        query = RecommendationQuery(
            history("u", about.get("bought"), about.get("viewed", ())),
            "page",
            8,
            context_item_ids=about.get("page", ()),
            exclude_item_ids=frozenset(about.get("excluded", ())),
            draw=about.get("draw"),
        )
        (slate,) = bound.recommend([query])
        assert len(slate.items) == 8
        return {item.item_id for item in slate.items if item.reason == reason}

    given = find_items(cause.present)
    assert given
    assert cause.allowed is None or given <= cause.allowed
    assert find_items(cause.absent) == set()


def test_scores_fall_with_rank_whatever_moved_an_item(recommender: Recommender, shoppers) -> None:
    placements = {"home": Placement("all", diversity=0.7)}
    bound = Recommender(recommender.model, recommender.items, placements)
    queries = [RecommendationQuery(history, "home", 20) for history in shoppers.values()]
    moved = 0
    for slate in bound.recommend(queries):
        falling = [item.falling_score for item in slate.items]
        assert falling == sorted(falling, reverse=True)
        moved += falling != [item.score for item in slate.items]
    assert moved
