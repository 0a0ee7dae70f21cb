"""Alternatives on a product page: of the same kind, the item that nobody knows yet among them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from configs.settings import Settings
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures, Reason, RecommendationQuery, Slate
from features.facts.facts import Facts
from features.online.histories import compute_offline_items
from models.ranking.placement import Placement
from models.ranking.recommender import Recommender
from tests.shops.browsed_shop import CONFIG, END
from tests.shops.event_tables import make_table
from training.recommendations.task import train

KINDS = ("Home > Lamps > Desk", "Home > Lamps > Floor", "Garden > Chairs")
PLACEMENTS = {"product": Placement("similar"), "bought_together": Placement("bought_together")}


def kind_of(item_id: str) -> str:
    return KINDS[int(item_id[1:]) % len(KINDS)]


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Sixty items of three kinds: a visit stays within a kind, or goes to the chair of the lamp."""
    home = tmp_path_factory.mktemp("lamps")
    rng = np.random.default_rng(6)
    rows = []
    for n in range(500):
        item = int(rng.integers(60))
        at = END - timedelta(days=9 * (500 - n) / 500, minutes=9)
        for number in range(4):
            rows.append(
                {
                    "event_id": f"{n} {number}",
                    "event_type": "view_item",
                    "occurred_at": at + timedelta(seconds=9 * number),
                    "session_id": f"s{n}",
                    "item_id": f"i{item:02}",
                }
            )
            item = (item + 3 * int(rng.integers(1, 6)) + (rng.random() < 0.3) * 2) % 60
    items = [
        {"item_id": f"i{n:02}", "category": kind_of(f"i{n:02}"), "list_price_minor": 1000 + n}
        for n in range(60)
    ]
    items.append({"item_id": "i99", "category": kind_of("i99"), "list_price_minor": 1030})
    facts = Facts(Settings(home=home))
    facts.write({"events": make_table("events", rows), "items": make_table("items", items)})
    trained = train(facts, Settings(home=home), CONFIG, until=None, progress=lambda _: None)
    return Recommender(trained.served, compute_offline_items(facts, END), PLACEMENTS)


def on_page(recommender: Recommender, item_id: str, count: int = 20) -> Slate:
    query = RecommendationQuery(UserHistory.unknown(END), "product", count, (item_id,))
    (slate,) = recommender.recommend([query])
    return slate


def test_the_first_places_are_of_the_kind_of_the_page(recommender: Recommender) -> None:
    for n in range(60):
        slate = on_page(recommender, f"i{n:02}", 4)
        assert [kind_of(item.item_id) for item in slate.items] == [kind_of(f"i{n:02}")] * 4
        assert {item.reason for item in slate.items} == {Reason.SIMILAR}


def test_what_was_viewed_together_comes_first(recommender: Recommender) -> None:
    sources = recommender.model.visit_sources
    # Whatever the ranker of next items uses: product pages need what was looked at together.
    assert sources is not None and sources.co_views is not None
    ids = sources.item_ids.tolist()
    cosines = sources.co_views.score(np.array([ids.index("i30")]))
    of_kind = [n for n, item_id in enumerate(ids) if kind_of(item_id) == kind_of("i30")]
    strongest = sorted(of_kind, key=lambda n: -cosines[n])[:3]
    near = [item.item_id for item in on_page(recommender, "i30", 6).items]
    assert {ids[n] for n in strongest} <= set(near)


def test_an_item_that_nobody_has_seen_has_alternatives_and_is_one(recommender: Recommender) -> None:
    own = on_page(recommender, "i99")
    assert {kind_of(item.item_id) for item in own.items[:10]} == {kind_of("i99")}
    for n in range(60):
        shown = [item.item_id for item in on_page(recommender, f"i{n:02}").items]
        is_kind = kind_of(f"i{n:02}") == kind_of("i99")
        assert ("i99" in shown) == is_kind or not is_kind


def test_after_the_kind_come_the_items_of_its_parent_for_no_reason_of_their_own(
    recommender: Recommender,
) -> None:
    slate = on_page(recommender, "i00", 40)
    by_kind = [kind_of(item.item_id) for item in slate.items]
    # Only what is often viewed with the lamp comes before lamps that nobody viewed with it.
    assert by_kind[:10] == [KINDS[0]] * 10
    assert set(by_kind) == {KINDS[0], KINDS[1]}
    for item in slate.items:
        if item.reason == Reason.SIMILAR:
            assert item.because_item_id == "i00"


def test_brand_and_price_decide_where_nobody_did_anything(recommender: Recommender) -> None:
    ids = np.array(["a", "b", "c", "d"], object)
    items = ItemFeatures(
        END,
        ids,
        {"price_minor": np.array([100, 900, 110, 105], np.float32)},
        np.array(["Tea"] * 4, object),
        np.array(["Alba", "Alba", "Korn", "Alba"], object),
    )
    model = replace(recommender.model, item_columns=(), rankers={})
    slate = on_page(Recommender(model, items, PLACEMENTS), "a", 3)
    # d: brand and price; b: brand alone (.2 and 1/9 of .2); c: price alone (1/1.1 of .2).
    assert [item.item_id for item in slate.items] == ["d", "b", "c"]


def test_the_title_says_which_of_many_new_items_is_nearest(recommender: Recommender) -> None:
    """A hundred lamps that nobody knows yet: those of the page's series come first."""
    series = ("Oslo brass", "Luna glass", "Atlas oak", "Mika steel")
    ids = np.array([f"n{n:03}" for n in range(100)], object)
    title = np.array([f"{series[n % 4]} lamp {n}" for n in range(100)], object)
    same = np.full(100, "Home > Lamps", object)
    items = ItemFeatures(END, ids, {}, same, np.full(100, "", object), title=title)
    model = replace(recommender.model, item_columns=(), rankers={})
    shop = Recommender(model, items, PLACEMENTS)
    for n in range(8):
        shown = [int(item.item_id[1:]) for item in on_page(shop, f"n{n:03}").items]
        assert {other % 4 for other in shown} == {n % 4}


def test_without_categories_what_people_do_is_all(recommender: Recommender, tmp_path: Path) -> None:
    items = recommender.items
    bare = replace(items, category=np.full(len(items.item_ids), "", object))
    slate = on_page(Recommender(recommender.model, bare, PLACEMENTS), "i30", 6)
    sources = recommender.model.visit_sources
    assert sources is not None and sources.co_views is not None
    ids = sources.item_ids.tolist()
    cosines = sources.co_views.score(np.array([ids.index("i30")]))
    shown = [cosines[ids.index(item.item_id)] for item in slate.items]
    assert min(shown) > np.median(cosines)
    assert {item.reason for item in slate.items} == {Reason.SIMILAR}
    nobody = on_page(Recommender(recommender.model, bare, PLACEMENTS), "i99", 6)
    assert nobody.fallback == "popular"
