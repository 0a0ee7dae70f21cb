"""Experiments defined, changed, layered, run with models and placements, and decided, over HTTP."""

from __future__ import annotations

from collections import Counter

import pytest

from experiments.assignment import assign
from features.contracts.errors import Conflict
from features.database import transaction
from serving.database.desk_tables import experiment_versions
from tests.shops.experiments import DRAFT, act, ask, define

UNITS = [f"v{number:03}" for number in range(120)]


def test_a_new_experiment_is_a_draft_that_assigns_nobody_until_it_is_started(served):
    draft = define(served).json()
    assert (draft["status"], draft["version"], draft["control"]) == ("draft", 1, "champion")
    assert draft["salt"] == "cart_again"  # the key, where none is given
    assert ask(served, visitor_id="v1")["experiments"] == []
    started = act(served, "cart_again", "start").json()
    assert (started["status"], started["started_at"] is None) == ("running", False)
    names = {ask(served, visitor_id=unit)["experiments"][0]["variant"] for unit in UNITS[:20]}
    assert names == {"champion", "again"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"primary_metric": "clicks"}, "unknown metric 'clicks'"),
        ({"placements": ["hom"]}, "unknown placement 'hom'"),
        ({"variants": DRAFT["variants"][:1]}, "two variants"),
        ({"variants": [{"name": "a", "weight": 0.7}, {"name": "b", "weight": 0.7}]}, "sum to 1.4"),
        (
            {"variants": [{"name": "a", "weight": 0.5}, {"name": "b", "weight": 0.5, "price": 3}]},
            "everybody pays the same price",
        ),
        (
            {
                "variants": [
                    {"name": "a", "weight": 0.5},
                    {"name": "b", "weight": 0.5, "placement": {"diversty": 0.5}},
                ]
            },
            "diversty",
        ),
        ({"layer": {"name": "cart", "start": 0.5, "end": 0.2}}, "layer"),
        ({"salt": "home_ranker"}, "salt"),
        ({"guardrails": [{"metric": "catalogue_coverage", "margin": 0.1}]}, "no error"),
        ({"analysis": "group_sequential"}, "planned_units"),
        ({"key": "Cart Again"}, "no name"),
    ],
)
def test_a_definition_that_cannot_run_is_refused_with_what_is_wrong(shared, values, message):
    response = define(shared, **values)
    assert response.status_code == 422, response.text
    assert message in response.text
    assert shared.client.get(f"/v1/experiments/{DRAFT['key']}").status_code == 404


def test_a_running_experiment_takes_more_units_and_no_other_change(served):
    define(served)
    act(served, "cart_again", "start")
    patch = served.client.patch
    lower = patch("/v1/experiments/cart_again", json={"coverage": 0.2, "based_on": 1})
    assert (lower.status_code, "only rises" in lower.text) == (409, True)
    policy = {"variants": DRAFT["variants"][::-1], "based_on": 1}
    assert patch("/v1/experiments/cart_again", json=policy).status_code == 409
    rails = {"guardrails": [{"metric": "revenue_per_unit", "margin": 0.1}], "based_on": 1}
    changed = patch("/v1/experiments/cart_again", json=rails)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    late = patch("/v1/experiments/cart_again", json=rails | {"secondary_metrics": ["repeat_rate"]})
    assert late.status_code == 409  # somebody else has saved version 2 meanwhile
    actions = served.client.get("/v1/audit?subject_id=cart_again").json()["items"]
    assert [record["action"] for record in actions] == ["save_rules", "start", "save_rules"]


def test_a_ramp_that_has_risen_is_not_taken_back(served):
    steps = [{"at": "2017-12-31T00:00:00Z", "coverage": 0.5}]
    define(served, coverage=0.1, ramp=steps)
    act(served, "cart_again", "start")
    path = "/v1/experiments/cart_again"
    lower = served.client.patch(path, json={"ramp": [], "based_on": 1})
    assert (lower.status_code, "only rises" in lower.text) == (409, True)
    higher = [*steps, {"at": "2018-02-01T00:00:00Z", "coverage": 1.0}]
    assert served.client.patch(path, json={"ramp": higher, "based_on": 1}).status_code == 200


def test_a_running_experiment_of_a_file_is_as_fixed_as_another(served):
    values = {"salt": "another", "based_on": 0}
    changed = served.client.patch("/v1/experiments/home_ranker", json=values)
    assert (changed.status_code, "salt of a running" in changed.text) == (409, True)


def test_parts_of_a_layer_are_apart_only_for_the_same_kind_of_unit(served):
    for key, start, end, unit in (("one", 0, 0.5, "user"), ("two", 0.5, 1, "visitor")):
        layer = {"name": "cart", "start": start, "end": end}
        define(served, key=key, layer=layer, unit=unit)
    assert act(served, "one", "start").status_code == 200
    assert act(served, "two", "start").status_code == 409


def test_experiments_in_parts_of_one_layer_share_a_placement_and_no_unit(served):
    for key, start, end in (("one", 0, 0.5), ("two", 0.5, 1)):
        layer = {"name": "cart", "start": start, "end": end}
        define(served, key=key, layer=layer)
        assert act(served, key, "start").status_code == 200
    met = [ask(served, visitor_id=unit)["experiments"] for unit in UNITS]
    counts = Counter(experiments[0]["experiment"] for experiments in met)
    assert all(len(experiments) == 1 for experiments in met)
    assert min(counts["one"], counts["two"]) > 30
    define(served, key="three")
    refused = act(served, "three", "start")
    assert (refused.status_code, "one runs on the placement" in refused.text) == (409, True)


def test_whom_a_holdout_holds_out_gets_one_list_for_all_and_takes_part_in_nothing_else(served):
    arms = [
        {"name": "all", "weight": 0.75},
        {"name": "none", "weight": 0.25, "policy": "popular"},
    ]
    define(served, key="holdout", placements=["*"], variants=arms, holdout=True)
    act(served, "holdout", "start")
    answers = [ask(served, "home", user_id=unit) for unit in UNITS]
    names = [
        {met["experiment"]: met["variant"] for met in answer["experiments"]} for answer in answers
    ]
    held = [
        answer for answer, name in zip(answers, names, strict=True) if name["holdout"] == "none"
    ]
    assert 10 < len(held) < 60
    assert len({tuple(item["item_id"] for item in answer["items"]) for answer in held}) == 1
    for name in names:
        assert ("home_ranker" in name) == (name["holdout"] == "all")


def test_a_placement_has_a_holdout_of_its_own_among_whom_the_shops_one_leaves(served):
    arms = [
        {"name": "all", "weight": 0.75},
        {"name": "none", "weight": 0.25, "policy": "popular"},
    ]
    for key, placement in (("shop", "*"), ("of_home", "home")):
        define(served, key=key, placements=[placement], variants=arms, holdout=True)
        assert act(served, key, "start").status_code == 200
    define(served, key="second", placements=["home"], variants=arms, holdout=True)
    assert act(served, "second", "start").status_code == 409
    answers = [ask(served, "home", user_id=unit) for unit in UNITS]
    met = [[each["variant"] for each in answer["experiments"]] for answer in answers]
    names = [[each["experiment"] for each in answer["experiments"]] for answer in answers]
    counts = Counter(map(tuple, met))
    assert {("none",), ("all", "none")} <= counts.keys()
    for keys, variants in zip(names, met, strict=True):
        assert keys == ["shop", "of_home", "home_ranker"][: len(keys)]
        assert (variants[-1] == "none") == (len(keys) < 3)


def test_a_target_admits_zones_attributes_and_buyers_only(served):
    target = {"attributes": {"device": ["phone"]}, "visitors": "new"}
    define(served, targeting=target)
    act(served, "cart_again", "start")
    phone = {"attributes": {"device": "phone"}}
    assert ask(served, visitor_id="v1")["experiments"] == []
    assert ask(served, visitor_id="v1", attributes={"device": "desktop"})["experiments"] == []
    assert len(ask(served, visitor_id="v1", **phone)["experiments"]) == 1
    assert ask(served, user_id="u00", **phone)["experiments"] == []  # bought before
    met = ask(served, visitor_id="v9", user_id="somebody", **phone)["experiments"]
    bought = {"event_type": "purchase", "item_id": "wine", "user_id": "somebody"}
    at = served.server.clock.now().isoformat()
    events = {"events": [bought | {"occurred_at": at, "line_amount": "3.00"}]}
    assert served.client.post("/v1/events", json=events).json()["accepted"] == 1
    assert ask(served, user_id="somebody", **phone)["experiments"] == met  # stays in


def test_an_override_shows_a_variant_and_counts_nowhere(served):
    define(served, coverage=0.0)
    act(served, "cart_again", "start")
    assert ask(served, visitor_id="v1")["experiments"] == []
    path = "/v1/experiments/cart_again/override"
    token = served.client.post(path, json={"variant": "again"}).json()["override"]
    met = ask(served, visitor_id="v1", override=token)["experiments"]
    assert met == [{"experiment": "cart_again", "variant": "again"}]
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    body = {"placement": "cart", "visitor_id": "v1", "override": forged}
    assert served.client.post("/v1/recommendations", json=body).status_code == 422
    served.server.exposures.close()
    report = served.client.get("/v1/experiments/cart_again/results").json()
    assert [variant["n"] for variant in report["variants"]] == [0, 0]


def test_each_variant_answers_with_its_own_model_and_a_decision_ships_it(served):
    arms = [
        {"name": "first", "weight": 0.5, "model": "1"},
        {"name": "second", "weight": 0.5, "model": "2"},
    ]
    define(served, key="models", placements=["cart"], variants=arms)
    assert act(served, "models", "start").status_code == 200
    versions = {}
    for unit in UNITS[:30]:
        answer = ask(served, visitor_id=unit)
        versions.setdefault(answer["experiments"][0]["variant"], set()).add(
            answer["model"]["version"]
        )
    assert versions == {"first": {"1"}, "second": {"2"}}
    early = act(served, "models", "decide", variant="second", ship=True)
    assert (early.status_code, "only a stopped" in early.text) == (409, True)
    act(served, "models", "stop")
    decided = act(served, "models", "decide", variant="second", ship=True, comment="Faster")
    assert decided.status_code == 200, decided.text
    decision = decided.json()["decision"]
    assert (decision["shipped"], decision["variant"]) == ("recommendations 2", "second")
    assert ask(served, visitor_id="v1")["model"]["version"] == "2"
    assert served.server.variants.versions == []  # nothing is kept beside the champion
    assert act(served, "models", "start").status_code == 409


def test_no_process_holds_more_model_versions_than_allowed(served):
    first = [{"name": "old", "weight": 0.5}, {"name": "first", "weight": 0.5, "model": "1"}]
    second = [{"name": "old", "weight": 0.5}, {"name": "second", "weight": 0.5, "model": "2"}]
    define(served, key="one", placements=["cart"], variants=first)
    define(served, key="two", placements=["product"], variants=second)
    experiments = served.server.experiments
    experiments.settings = served.settings.model_copy(update={"max_variant_models": 1})
    assert act(served, "one", "start").status_code == 200
    refused = act(served, "two", "start")
    assert refused.status_code == 409
    assert "2 model versions would be loaded beside the champion: 1 (one), 2 (two)" in refused.text
    assert "SHOPWRIGHT_MAX_VARIANT_MODELS" in refused.text
    with pytest.raises(Conflict, match="2 model versions"):
        experiments.make_override("two", "second", 1.0, actor="tests")
    assert served.server.variants.versions == ["1"]
    act(served, "one", "stop")
    assert act(served, "two", "start").status_code == 200


def test_a_start_fixes_the_challenger_at_its_number(served):
    arms = [{"name": "old", "weight": 0.5}, {"name": "new", "weight": 0.5, "model": "challenger"}]
    define(served, key="challenged", variants=arms)
    started = act(served, "challenged", "start").json()
    models = {variant["name"]: variant["model"] for variant in started["variants"]}
    assert models == {"old": "champion", "new": "2"}
    kept = served.client.get("/v1/experiments/challenged").json()
    assert (kept["version"], kept["status"]) == (2, "running")


def test_a_saved_definition_that_cannot_be_used_any_more_is_said(served):
    define(served)
    with transaction(served.server.engine) as connection:
        broken = experiment_versions.update().values(values={"placements": []})
        connection.execute(broken.where(experiment_versions.c.name == "cart_again"))
    served.server.refresh()
    assert served.client.get("/v1/experiments/cart_again").status_code == 404
    assert served.server.conditions.states["experiments"]
    assert served.client.get("/v1/experiments/home_ranker").status_code == 200


def test_of_two_decisions_one_counts_and_ships(served):
    arms = [
        {"name": "first", "weight": 0.5, "model": "1"},
        {"name": "second", "weight": 0.5, "model": "2"},
    ]
    define(served, key="models", variants=arms)
    act(served, "models", "start")
    act(served, "models", "stop")
    assert act(served, "models", "decide", variant="first", ship=True).status_code == 200
    late = act(served, "models", "decide", variant="second", ship=True)
    assert (late.status_code, "is decided" in late.text) == (409, True)
    assert served.server.registry.find_champion("recommendations").version == "1"


def test_a_variant_that_fails_is_answered_by_the_champion_and_counted(served, monkeypatch):
    arms = [{"name": "old", "weight": 0.5}, {"name": "new", "weight": 0.5, "model": "2"}]
    define(served, key="broken", variants=arms)
    act(served, "broken", "start")
    experiment = served.server.experiments.get("broken")
    unit = next(unit for unit in UNITS if assign(experiment, unit).name == "new")
    other = served.server.variants.find(experiment, experiment.variant("new")).recommender

    def fail(*_arguments, **_options):
        raise KeyError("a feature that is gone")

    monkeypatch.setattr(other, "recommend", fail)
    answer = ask(served, visitor_id=unit)
    assert (answer["degraded"], answer["model"]["version"]) == (True, "1")
    assert answer["experiments"] == [{"experiment": "broken", "variant": "new"}]
    assert len(answer["items"]) > 0


def test_a_variant_changes_a_placement_and_a_decision_makes_it_the_shops_own(served):
    arms = [
        {"name": "usual", "weight": 0.5},
        {"name": "rising", "weight": 0.5, "placement": {"scorer": "trending"}},
    ]
    define(served, key="rising", variants=arms)
    act(served, "rising", "start")
    experiment = served.server.experiments.get("rising")
    unit = next(unit for unit in UNITS if assign(experiment, unit).name == "rising")
    usual = next(unit for unit in UNITS if assign(experiment, unit).name == "usual")
    shown = [item["item_id"] for item in ask(served, visitor_id=unit)["items"]]
    assert shown != [item["item_id"] for item in ask(served, visitor_id=usual)["items"]]
    act(served, "rising", "stop")
    decided = act(served, "rising", "decide", variant="rising", ship=True).json()["decision"]
    assert decided["shipped"] == "placement cart"
    assert served.server.served_models.placements["cart"].scorer == "trending"
    assert [item["item_id"] for item in ask(served, visitor_id=unit)["items"]] == shown
    rules = served.client.get("/v1/placements/cart").json()
    assert (rules["number"], rules["values"]["scorer"]) == (1, "trending")
