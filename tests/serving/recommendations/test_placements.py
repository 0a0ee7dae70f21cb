"""Placements from YAML alone, pages of several, logged exploration, new visitors and new items."""

from __future__ import annotations

from datetime import timedelta

import pytest

from features.contracts.errors import UnknownName
from features.database import reading
from features.facts.facts import Facts
from features.facts.slates import read_slates
from features.online.materialize import materialize
from serving.app import create_app
from serving.recommendations.api import RecommendationResponse
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, REFUSER, copy_shop, make_settings, run_shop

PLACEMENTS = {
    "dairy_wall": (
        "scorer: all\nrules: [dairy]\nfallback: trending\ndiversity: 0.2\n"
        "candidates: {als: 0, popular: 5}\n"
    ),
    "lab": "scorer: all\nexploration: {places: 2}\n",
    "honest": "scorer: buy_again\nfallback: none\n",
}
RULES = """
description: The dairy team's wishes
rules:
  cheese_first: {action: pin, item_ids: [cheese], place: 1}
  no_wine: {action: hide, categories: [Drinks > Wine]}
  one_bakery: {action: at_most, n: 1, categories: [Food > Bakery]}
  over: {action: hide, brands: [Alba], valid_to: 2017-12-31T00:00:00Z}
"""


@pytest.fixture(scope="module")
def shop(tiny_home, tmp_path_factory):
    """The tiny shop with an overlay folder that adds placements and a set of rules."""
    root = tmp_path_factory.mktemp("placements")
    copy_shop(tiny_home, root / "home")
    for folder, files in (("placements", PLACEMENTS), ("rules", {"dairy": RULES})):
        (root / "configs" / folder).mkdir(parents=True)
        for name, text in files.items():
            (root / "configs" / folder / f"{name}.yaml").write_text(text)
    yield from run_shop(make_settings(root / "home", config_dir=root / "configs"))


def ask(shop, placement="home", **body):
    answer = shop.client.post("/v1/recommendations", json={"placement": placement, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def send(shop, *events):
    rows = [
        {"event_id": f"{id(events)}-{n}", "occurred_at": NOW.isoformat(), **event}
        for n, event in enumerate(events)
    ]
    assert shop.client.post("/v1/events", json={"events": rows}).json()["accepted"] == len(rows)


def test_a_new_placement_is_a_file_and_its_rules_another(shop):
    answer = ask(shop, "dairy_wall", in_stock_only=False, explain=True)
    assert answer["fallback"] == "trending"
    assert ids(answer)[0] == "cheese"
    assert answer["items"][0]["reason"] == "promoted"
    assert answer["items"][0]["rules"] == [{"rule": "dairy.cheese_first", "effect": "pinned"}]
    assert "wine" not in ids(answer)
    assert {"beer", "butter"} <= set(ids(answer))  # the rule that has ended hides nothing
    assert {"item_id": "wine", "rule": "dairy.no_wine", "effect": "hidden"} in answer["withheld"]
    typed = RecommendationResponse.model_validate(answer, strict=True)
    assert typed.model_dump(mode="json", exclude_unset=True) == answer
    known = ask(shop, "dairy_wall", user_id="u00", in_stock_only=False)
    assert known["fallback"] is None
    assert ids(known)[0] == "cheese"
    assert "withheld" not in known
    assert all("rules" not in item for item in known["items"])


def test_a_pinned_item_without_stock_is_not_shown(shop):
    assert "cheese" not in ids(ask(shop, "dairy_wall"))


def test_a_placement_without_a_fallback_answers_fewer(shop):
    assert ids(ask(shop, "honest")) == []
    assert set(ids(ask(shop, "honest", user_id="u00"))) == {"beer", "wine"}


def test_a_placement_that_names_unknown_rules_does_not_start(tiny_home, tmp_path):
    (tmp_path / "placements").mkdir()
    (tmp_path / "placements" / "home.yaml").write_text("rules: [asortment]\n")
    settings = make_settings(tiny_home, config_dir=tmp_path)
    from models.registry import Registry
    from serving.models.served_models import ServedModels

    with pytest.raises(UnknownName, match="Did you mean 'assortment'"):
        ServedModels(settings, Registry(settings.mlflow_url, settings.home))
    assert create_app  # the application asks the same object


def test_every_slate_is_logged_with_what_it_was_made_under(shop):
    answers = [ask(shop, "lab", user_id="u00", count=3) for _ in range(3)]
    trending = ask(shop, "trending")
    ask(shop, "lab", count=2, visitor_id="v")
    ask(shop, "lab", count=2, user_id=REFUSER, visitor_id="v-refuser", session_id="s-refuser")
    home = ask(shop, "home", user_id="u00", count=2)
    shop.server.exposures.close()
    with reading(shop.server.engine) as connection:
        tables = {name: read_slates(connection, name) for name in ("lab", "trending", "home")}
    rows = {row["recommendation_id"]: row for row in tables["lab"].to_pylist()}
    assert {row["unit_id"] for row in rows.values()} == {"u00", "v", None}
    for answer in answers:
        row = rows[answer["recommendation_id"]]
        assert row["item_id"] == ids(answer)
        assert row["reason"] == [item["reason"] for item in answer["items"]]
        assert row["propensity"][0] == 1
        assert all(0 < propensity <= 1 for propensity in row["propensity"])
        assert (row["model_name"], row["model_version"]) == ("recommendations", "1")
        assert row["latency_ms"] > 0
    (row,) = tables["trending"].to_pylist()
    assert row["recommendation_id"] == trending["recommendation_id"]
    assert (row["unit_id"], row["propensity"], row["degraded"]) == (None, None, False)
    (row,) = tables["home"].to_pylist()
    (assigned,) = home["experiments"]
    assert (row["experiment"], row["variant"]) == (assigned["experiment"], assigned["variant"])


# --- a page ---


def page(shop, *placements, **body):
    answer = shop.client.post(
        "/v1/recommendations/page", json={"placements": list(placements), **body}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["slates"]


def test_no_item_stands_twice_on_a_page(shared):
    slates = page(
        shared,
        {"placement": "trending", "count": 2},
        "home",
        {"placement": "bought_together", "item_ids": ["beer"], "count": 3},
        user_id="u00",
        count=2,
        in_stock_only=False,
    )
    assert [slate["placement"] for slate in slates] == ["trending", "home", "bought_together"]
    shown = [item for slate in slates for item in ids(slate)]
    assert len(shown) == len(set(shown)) >= 5
    assert ids(slates[0]) == ids(ask(shared, "trending", count=2, in_stock_only=False))
    assert len({slate["recommendation_id"] for slate in slates}) == 3
    assert slates[1]["experiments"]
    assert set(slates[0]) == {
        "recommendation_id", "placement", "items", "experiments", "model", "fallback", "degraded"
    }  # fmt: skip


def test_a_placement_overrides_what_the_page_says(shared):
    slates = page(
        shared,
        {"placement": "trending", "filter": {"category": ["Food"]}},
        {"placement": "trending", "count": 1},
        filter={"category": ["Drinks"]},
    )
    assert set(ids(slates[0])) == {"bread", "butter", "milk"}
    assert len(ids(slates[1])) == 1
    assert set(ids(slates[1])) < {"beer", "wine"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"placements": []}, "placements"),
        ({"placements": ["hom"]}, "Did you mean 'home'?"),
        ({"placements": [{"placement": "home", "user_id": "u"}]}, "user_id"),
        ({"placements": ["home"], "colour": "red"}, "colour"),
    ],
)
def test_a_page_that_cannot_be_is_refused(shared, body, message):
    answer = shared.client.post("/v1/recommendations/page", json=body)
    assert answer.status_code == 422
    assert message in answer.text


# --- who or what is new ---


def test_an_unknown_visitor_with_an_item_on_the_page_is_not_nobody(shared):
    plain, beside = (
        ask(shared, in_stock_only=False),
        ask(shared, item_ids=["wine"], in_stock_only=False),
    )
    assert (plain["fallback"], beside["fallback"]) == ("popular", None)
    assert "wine" not in ids(beside)


def test_three_views_in_one_category_move_the_sessions_slate_there(served):
    before = ask(served, session_id="s", count=4, in_stock_only=False)
    assert before["fallback"] == "popular"
    views = [
        {"event_type": "view_item", "item_id": item, "session_id": "s"}
        for item in ("butter", "cheese", "milk")
    ]
    send(served, *views)
    after = ask(served, session_id="s", count=4, in_stock_only=False)
    dairy = {"butter", "cheese", "milk"}
    assert after["fallback"] is None
    assert ids(after)[0] in dairy
    assert len(dairy & set(ids(after))) >= 2
    assert (
        next(item["reason"] for item in after["items"] if item["item_id"] in dairy)
        == "because_you_viewed"
    )
    for item in after["items"]:
        if item["reason"] == "because_you_viewed":
            assert item["because_item_id"] in dairy


def test_a_user_with_two_events_has_a_slate_of_their_own(served):
    send(
        served,
        {
            "event_type": "purchase",
            "item_id": "wine",
            "user_id": "fresh",
            "order_id": "o",
            "quantity": 1,
        },
        {"event_type": "view_item", "item_id": "beer", "user_id": "fresh"},
    )
    answer = ask(served, user_id="fresh", in_stock_only=False)
    assert answer["fallback"] is None
    assert {item["reason"] for item in answer["items"]} != {"popular"}
    assert {"beer", "wine"} <= set(ids(answer))


def arrive(shop, *items, at=NOW - timedelta(minutes=1)):
    """Imports items that arrive `at`, and materializes what is known at NOW."""
    fields = {"available_from": at, "stock_on_hand": 3}
    facts = Facts(shop.settings)
    facts.write({"items": make_table("items", [fields | item for item in items])})
    materialize(facts, shop.settings, NOW)
    shop.server.served_models.refresh()


def test_an_item_that_arrived_a_minute_ago_in_a_new_category_is_shown_at_once(served):
    assert ids(ask(served, "new_arrivals", strict=True)) == []
    arrive(
        served, {"item_id": "kale", "title": "kale", "category": "Greens > Leaves", "brand": "Feld"}
    )
    arrived = ask(served, "new_arrivals", strict=True)
    assert [(item["item_id"], item["reason"]) for item in arrived["items"]] == [("kale", "new")]
    # A category that no model has ever seen is no empty page, whoever asks.
    for who in ({}, {"user_id": "u00"}):
        answer = ask(served, filter={"category": ["Greens"]}, **who)
        assert [(item["item_id"], item["reason"]) for item in answer["items"]] == [("kale", "new")]
    assert "kale" in ids(ask(served, filter={"brand": ["Feld"]}))


def test_an_item_of_which_nothing_is_known_stands_where_its_category_is_asked_for(served):
    arrive(served, {"item_id": "kale", "title": "kale", "category": "Greens > Leaves"}, at=None)
    assert ids(ask(served, filter={"category": ["Greens"]})) == ["kale"]
    assert "kale" not in ids(ask(served, "new_arrivals", strict=True))


def test_views_in_a_new_category_bring_its_items(served):
    names = ["kale", "chard", "rocket", "spinach"]
    arrive(
        served, *({"item_id": name, "title": name, "category": "Greens > Leaves"} for name in names)
    )
    send(
        served,
        *({"event_type": "view_item", "item_id": name, "session_id": "s"} for name in names[:3]),
    )
    answer = ask(served, session_id="s", count=4, strict=True)
    assert len(set(names) & set(ids(answer))) >= 2
    spinach = next(
        (item for item in ask(served, session_id="s")["items"] if item["item_id"] == "spinach"),
        None,
    )
    assert spinach is not None
    assert spinach["reason"] == "because_you_viewed"
    assert spinach["because_item_id"] in names[:3]
