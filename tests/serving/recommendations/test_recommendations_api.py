"""Slates over HTTP: what a request may say, and the experiment that decides the policy."""

import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from experiments.assignment import assign
from features.contracts.errors import Unavailable
from features.contracts.recommendations import RecommendationQuery
from features.database import reading, transaction
from features.database_tables import exposures
from features.facts.facts import Facts
from features.online.materialize import materialize
from features.online.online_store import OnlineHistories
from features.online.snapshots import current_version, refused_file
from features.prices.ledger import Ledger
from serving.recommendations.api import PageResponse, RecommendationResponse
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW, REFUSER, make_price, make_user_id, run_shop


def ask(shop, placement="home", **body):
    answer = shop.client.post("/v1/recommendations", json={"placement": placement, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def unit_in(shop, variant):
    experiment = shop.server.experiments.current["home_ranker"]
    return next(
        make_user_id(n) for n in range(20) if assign(experiment, make_user_id(n)).name == variant
    )


def test_an_answer_has_the_shape_of_the_contract(shared):
    answer = ask(shared, user_id="u00", count=3)
    assert set(answer) == {
        "recommendation_id", "placement", "items", "experiments", "model", "fallback", "degraded"
    }  # fmt: skip
    assert answer["placement"] == "home"
    assert answer["model"] == {"name": "recommendations", "version": "1"}
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert set(answer["items"][0]) == {"item_id", "rank", "score", "reason"}
    assert (answer["fallback"], answer["degraded"]) == (None, False)
    assert answer["recommendation_id"] != ask(shared, user_id="u00")["recommendation_id"]


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u00"},
        {"user_id": "u00", "explain": True},
        {"item_ids": ["beer"], "explain": True, "in_stock_only": False},
        {},
    ],
)
def test_bodies_are_what_the_response_types_describe(shared, body):
    answer = ask(shared, **body)
    assert fields_set(RecommendationResponse, answer) == answer
    page = shared.client.post(
        "/v1/recommendations/page", json={"placements": ["home", "trending"], **body}
    ).json()
    assert fields_set(PageResponse, page) == page


def fields_set(response, body):
    """The body as its type reads it, without what the type adds: a field unknown to it is lost."""
    return response.model_validate(body, strict=True).model_dump(mode="json", exclude_unset=True)


@pytest.mark.parametrize(("variant", "policy"), [("champion", None), ("buy_again", "buy_again")])
def test_the_variant_decides_by_which_policy_the_one_recommender_answers(shared, variant, policy):
    unit = unit_in(shared, variant)
    answer = ask(shared, user_id=unit, count=4, in_stock_only=False)
    assert answer["experiments"] == [{"experiment": "home_ranker", "variant": variant}]
    history = OnlineHistories(shared.settings, shared.server.engine).read(unit, None, None, NOW)
    recommender = shared.server.served_models.recommender().recommender
    (slate,) = recommender.recommend([RecommendationQuery(history, "home", 4)], policy=policy)
    assert [(i["item_id"], i["score"], i["reason"]) for i in answer["items"]] == [
        (i.item_id, i.score, i.reason.value) for i in slate.items
    ]


def test_other_placements_are_in_no_experiment(shared):
    assert ask(shared, "trending", user_id="u00")["experiments"] == []


def test_exposures_are_written_behind_the_answer_and_once(served):
    answers = [ask(served, user_id="u00"), ask(served, visitor_id="v")]
    ask(served)  # nobody to assign
    served.server.exposures.close()
    with reading(served.server.engine) as connection:
        rows = connection.execute(sa.select(exposures)).all()
    assert {row.recommendation_id for row in rows} == {
        answer["recommendation_id"] for answer in answers
    }
    assert {row.unit_id for row in rows} == {"u00", "v"}
    assert {(row.model_name, row.model_version, row.propensity) for row in rows} == {
        ("recommendations", "1", 0.5)
    }
    assert all(abs((row.exposed_at - NOW).total_seconds()) < 600 for row in rows)


def test_filters_let_through_what_they_say(shared):
    assert set(ids(ask(shared, filter={"category": ["Drinks"]}))) == {"beer", "wine"}
    assert set(ids(ask(shared, filter={"category": ["Food > Dairy"], "brand": ["Alba"]}))) == {
        "butter",
        "milk",
    }
    assert ids(ask(shared, filter={"category": ["Foo"]})) == []


def test_what_is_sold_out_is_left_out_unless_asked_for_and_unknown_stock_stays(shared):
    assert set(ids(ask(shared))) == {"beer", "bread", "butter", "milk", "wine"}
    assert "cheese" in ids(ask(shared, in_stock_only=False))


def test_price_max_holds_offer_prices_of_the_ledger(served):
    with transaction(served.server.engine) as connection:
        Ledger(connection).append([make_price("beer", 199), make_price("wine", 500)])
    assert ids(ask(served, filter={"price_max": 1.99})) == ["beer"]
    assert set(ids(ask(served, filter={"price_max": 5}))) == {"beer", "wine"}


def test_exclusions(shared):
    own = {"beer", "wine"}
    assert own & set(ids(ask(shared, user_id="u00")))
    assert not own & set(ids(ask(shared, user_id="u00", exclude_purchased=True)))
    assert "beer" not in ids(ask(shared, user_id="u00", exclude_item_ids=["beer"]))


def test_strict_answers_fewer_rather_than_popular_ones(shared):
    assert set(ids(ask(shared, "buy_again", user_id="u00", strict=True))) == {"beer", "wine"}
    filled = ask(shared, "buy_again", user_id="u00", count=4)["items"]
    assert [item["reason"] for item in filled] == ["buy_again", "buy_again", "popular", "popular"]


def test_explain_says_what_each_feature_added(shared):
    item = ask(shared, user_id=unit_in(shared, "champion"), explain=True)["items"][0]
    assert item["contributions"]
    assert all(isinstance(value, float) for value in item["contributions"].values())


def test_diversity_moves_the_second_of_a_category_back(shared):
    by_score = ask(shared, "trending", in_stock_only=False, count=6)
    apart = ask(shared, "trending", in_stock_only=False, count=6, diversity=1.0)
    assert set(ids(apart)) == set(ids(by_score))
    assert ids(apart)[0] == ids(by_score)[0]
    departments = ["Drinks" if item in ("beer", "wine") else "Food" for item in ids(apart)]
    assert departments[0] != departments[1]
    assert [item["rank"] for item in apart["items"]] == [1, 2, 3, 4, 5, 6]


def test_who_refuses_personalization_is_nobody(shared):
    refused, unknown = ask(shared, user_id=REFUSER), ask(shared)
    assert refused["fallback"] == unknown["fallback"] == "popular"
    assert ids(refused) == ids(unknown)


@pytest.mark.parametrize("damage", [b"", b"no digests", None])
def test_nobody_is_known_while_it_cannot_be_read_who_refused(served, damage):
    version = current_version(served.settings)
    path = refused_file(served.settings, version.name)
    path.unlink() if damage is None else path.write_bytes(damage)
    # As in a process that opens the version now.
    served.server.recommendations.histories._stamp = None
    answer = ask(served, user_id="u00")
    assert answer["degraded"] is True
    assert ids(answer) == ids(ask(served))
    assert answer["experiments"] == []
    assert "personalization" in served.client.get("/readyz").json()["degraded"]["online_store"]


def test_rank_orders_a_given_list_with_unknown_items_last(shared):
    answer = shared.client.post(
        "/v1/rank", json={"user_id": "u00", "item_ids": ["nope", "milk", "beer", "wine"]}
    )
    assert answer.status_code == 200
    assert sorted(ids(answer.json())[:3]) == ["beer", "milk", "wine"]
    assert ids(answer.json())[3] == "nope"
    assert answer.json()["experiments"] == []


def test_rank_puts_first_what_matches_the_query(shared):
    for query, first in (("Beer", "beer"), ("mílk", "milk"), ("wine", "wine")):
        for who in ({"user_id": "u00"}, {"visitor_id": "nobody"}):
            body = {**who, "item_ids": ["wine", "milk", "beer"], "query": query, "explain": True}
            answer = shared.client.post("/v1/rank", json=body)
            assert answer.status_code == 200
            assert ids(answer.json())[0] == first
            assert answer.json()["items"][0]["contributions"]["query"] > 0
    body = {"item_ids": ["wine", "milk", "beer"]}
    plain = shared.client.post("/v1/rank", json=body).json()
    nothing = shared.client.post("/v1/rank", json={**body, "query": "??"}).json()
    assert nothing["items"] == plain["items"]


def test_what_was_searched_for_is_in_the_next_slate(served):
    def search(query, **who):
        event = {"event_type": "search", "occurred_at": NOW.isoformat(), "query": query, **who}
        answer = served.client.post("/v1/events", json={"events": [event]})
        assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}

    stranger = {"visitor_id": "v-search"}
    before = ids(ask(served, **stranger))
    for query, first in (("wine", "wine"), ("Dairy", "butter"), ("BEERS", "beer")):
        search(query, **stranger)
        slate = ask(served, **stranger)
        assert ids(slate)[0] == first
        assert "because_you_viewed" not in {item["reason"] for item in slate["items"]}
    search("nothing of that", **stranger)
    assert ids(ask(served, **stranger)) == before
    bought = ask(served, user_id="u01")  # a known buyer, and one who does not allow it
    search("wine", user_id="u01")
    assert ids(ask(served, user_id="u01"))[0] == "wine" != ids(bought)[0]
    refused = ids(ask(served, user_id=REFUSER))
    search("wine", user_id=REFUSER)
    assert ids(ask(served, user_id=REFUSER)) == refused


def test_only_a_search_needs_no_item(served):
    event = {"event_type": "view_item", "occurred_at": NOW.isoformat(), "query": "wine"}
    answer = served.client.post("/v1/events", json={"events": [event]}).json()
    assert answer["rejected"] == [{"index": 0, "reason": "item_id: is missing"}]


def test_the_simple_form_is_the_same(shared):
    answer = shared.client.get(
        "/v1/recommendations", params={"placement": "trending", "user_id": "u00", "count": 3}
    )
    assert answer.status_code == 200
    assert ids(answer.json()) == ids(ask(shared, "trending", user_id="u00", count=3))
    refused = shared.client.get(
        "/v1/recommendations", params={"placement": "home", "colour": "red"}
    )
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"placement": "hom"}, "Did you mean 'home'?"),
        ({"placement": "home", "count": 0}, "count"),
        ({"placement": "home", "count": 101}, "count"),
        ({"placement": "home", "colour": "red"}, "body.colour"),
        ({"placement": "home", "filter": {"size": "XL"}}, "body.filter.size"),
        ({"placement": "home", "user_id": "a\x00b"}, "user_id"),
        ({}, "placement"),
        ([], "body"),
    ],
)
def test_what_cannot_be_used_is_refused_with_where(shared, body, message):
    answer = shared.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert message in answer.text


def test_an_answer_without_history_is_better_than_none_and_says_so(shared, monkeypatch):
    def silent(*_):
        raise Unavailable("online features do not answer")

    monkeypatch.setattr(shared.server.recommendations.histories, "read_visitor", silent)
    answer = ask(shared, user_id="u00")
    assert answer["degraded"] is True
    assert answer["fallback"] == "popular"
    assert answer["experiments"] == []


def test_a_promoted_version_is_served_without_a_restart(served):
    promoted = served.client.post("/v1/models/recommendations/promote", json={"version": "2"})
    assert promoted.status_code == 200
    assert "champion" in promoted.json()["aliases"]
    assert ask(served)["model"]["version"] == "2"
    assert served.client.post("/v1/models/recommendations/rollback").json()["version"] == "1"
    assert ask(served)["model"]["version"] == "1"


def test_another_process_promotes_and_the_poll_sees_it(served):
    served.server.registry.promote("recommendations", "2")
    deadline = time.monotonic() + 15
    while ask(served)["model"]["version"] != "2":
        assert time.monotonic() < deadline, "the poll did not see it"
        time.sleep(0.1)


def test_materialized_features_are_served_without_a_restart(served):
    before = served.server.served_models.recommender().items.as_of
    materialize(Facts(served.settings), served.settings, NOW + timedelta(minutes=1))
    served.server.served_models.refresh()
    assert served.server.served_models.recommender().items.as_of == before + timedelta(minutes=1)
    assert ids(ask(served, user_id="u00"))


def test_what_is_sold_out_in_a_zone_is_not_shown_there(tiny):
    facts = Facts(tiny)
    stock = [
        {"item_id": "beer", "zone": zone, "at": NOW - timedelta(days=1), "on_hand": on_hand}
        for zone, on_hand in (("north", 9.0), ("south", 0.0))
    ]
    facts.write({"stock": make_table("stock", stock)})
    materialize(facts, tiny, NOW)
    for shop in run_shop(tiny):

        def shown(shop=shop, **fields):
            body = {"placement": "buy_again", "user_id": "u00", "strict": False, **fields}
            return {
                item["item_id"]
                for item in shop.client.post("/v1/recommendations", json=body).json()["items"]
            }

        assert "beer" in shown(zone="north")
        assert "beer" not in shown(zone="south")
        assert "beer" in shown(zone="south", in_stock_only=False)
        assert "beer" in shown()  # a zone without a count of its own
        assert "beer" not in {
            item["item_id"]
            for item in shop.client.get(
                "/v1/recommendations?placement=home&user_id=u00&zone=south"
            ).json()["items"]
        }


def test_a_filter_that_no_item_meets_is_named_with_the_nearest_right_one(shared):
    answer = ask(shared, filter={"category": ["Drink", "Food"], "brand": ["Albo"]})
    assert answer["unknown"] == [
        "unknown category 'Drink'. Did you mean 'Drinks'?",
        "unknown brand 'Albo'. Did you mean 'Alba'?",
    ]
    assert "unknown" not in ask(shared, filter={"category": ["Food"], "brand": ["Alba"]})
    twice = shared.client.get("/v1/recommendations?placement=home&zone=default&zone=north")
    assert twice.status_code == 422
