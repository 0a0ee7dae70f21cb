"""Merchandising rules as versions: tried, saved, served by every process, restored."""

import dataclasses

import pytest

from features.database import transaction
from serving.database.desk_tables import merchandising_rule_versions
from serving.database.rule_versions import RuleVersion, RuleVersions
from serving.models.served_rules import RULES
from tests.shops.price_desk import SYSTEM_NOW
from tests.shops.served_shop import run_shop

URL = "/v1/merchandising-rules"
NO_BEER = {"rules": {"no_beer": {"action": "hide", "item_ids": ["beer"]}}, "placements": ["home"]}


@pytest.fixture
def shop(tiny):
    yield from run_shop(tiny)


def list_home(shop):
    request = {"placement": "home", "user_id": "u00"}
    slate = shop.client.post("/v1/recommendations", json=request).json()
    return [item["item_id"] for item in slate["items"]]


def save(shop, values, name="spring", based_on=0, comment="a test"):
    body = {"name": name, "values": values, "comment": comment, "based_on": based_on}
    return shop.client.post(URL, json=body)


def test_a_set_is_saved_served_without_a_restart_and_restored(shop):
    assert "beer" in list_home(shop)
    saved = save(shop, NO_BEER).json()
    assert (saved["number"], saved["comment"]) == (1, "a test")
    shop.server.refresh()
    assert "beer" not in list_home(shop)
    assert "spring" in shop.server.served_models.placements["home"].rules
    empty = {"rules": {}, "placements": ["home"]}
    assert save(shop, empty).status_code == 409
    assert save(shop, empty, based_on=1).json()["number"] == 2
    shop.server.refresh()
    assert "beer" in list_home(shop)
    restored = shop.client.post(f"{URL}/spring/restore", json={"number": 1, "comment": "again"})
    assert restored.json()["restored_from"] == 1
    shop.server.refresh()
    assert "beer" not in list_home(shop)
    versions = shop.client.get(f"{URL}/spring/versions").json()["items"]
    assert [each["number"] for each in versions] == [1, 2, 3]
    (difference,) = versions[1]["differences"]
    assert (difference["path"], difference["after"]) == ("rules.no_beer", None)


def test_a_set_of_a_file_is_changed_and_restored_to_the_file(shop):
    families = shop.client.get(f"{URL}/families").json()
    assert families["number"] == 0
    values = {**families["values"], "rules": {"no_beer": NO_BEER["rules"]["no_beer"]}}
    assert save(shop, values, name="families").status_code == 200
    shop.server.refresh()
    assert "beer" not in list_home(shop)
    back = {"number": 0, "comment": "back"}
    assert shop.client.post(f"{URL}/families/restore", json=back).status_code == 200
    shop.server.refresh()
    assert "beer" in list_home(shop)


def test_what_cannot_be_used_is_refused_with_the_nearest_name(shop):
    wrong = [
        {"rules": {"r": {"action": "hied"}}},
        {"rules": {"r": {"action": "pin", "place": 1}}},
        {"rules": {"r": {"action": "hide", "features": {"stock_on_hnd": {"least": 1}}}}},
        {"placements": ["hoem"]},
        {"ruels": {}},
    ]
    answers = [save(shop, values) for values in wrong]
    assert [answer.status_code for answer in answers] == [422] * len(wrong)
    assert [answer.json().get("hint") for answer in answers[2:]] == [
        "Did you mean 'stock_on_hand'?",
        "Did you mean 'home'?",
        "Did you mean 'rules'?",
    ]
    assert shop.client.get(URL).json()["items"][-1]["name"] != "spring"


def test_a_broken_version_keeps_the_one_before_it(shop):
    save(shop, NO_BEER)
    broken = {"rules": {"r": {"action": "from a later release"}}}
    version = RuleVersion("spring", 2, broken, "dora", "", SYSTEM_NOW)
    with transaction(shop.server.engine) as connection:
        RuleVersions(connection, merchandising_rule_versions).add(version)
    shop.server.refresh()
    assert "beer" not in list_home(shop)
    assert "version 2 of spring cannot be used" in shop.server.conditions.faults[RULES].reason
    save(shop, {"rules": {}}, based_on=2)
    shop.server.refresh()
    assert "beer" in list_home(shop)
    assert RULES not in shop.server.conditions.faults


def test_a_saved_set_serves_in_a_process_that_starts_later(tiny, shop):
    save(shop, NO_BEER)
    for later in run_shop(tiny):
        assert "beer" not in list_home(later)


def test_a_trial_shows_both_slates_and_saves_nothing(shop):
    wanted = {"placement": "home", "user_id": "u00", "count": 5}
    trial = shop.client.post(f"{URL}/spring/try", json={"values": NO_BEER, **wanted}).json()
    assert "beer" in [item["item_id"] for item in trial["before"]]
    assert "beer" not in [item["item_id"] for item in trial["after"]]
    assert trial["left"] == ["beer"]
    assert "beer" in list_home(shop)
    assert shop.client.get(f"{URL}/spring").status_code == 422
    pin = {
        "rules": {"first": {"action": "pin", "item_ids": ["bread"], "place": 1}},
        "placements": ["home"],
    }
    after = shop.client.post(f"{URL}/spring/try", json={"values": pin, **wanted}).json()["after"]
    assert (after[0]["item_id"], after[0]["rules"]) == (
        "bread",
        [{"rule": "spring.first", "effect": "pinned"}],
    )
    wrong = {"values": {"rules": {"r": {"action": "hied"}}}, **wanted}
    assert shop.client.post(f"{URL}/spring/try", json=wrong).status_code == 422


def test_only_who_manages_slates_saves_and_the_audit_log_names_them(shop):
    save(shop, NO_BEER)
    log = shop.client.get("/v1/audit", params={"subject_type": "merchandising_rules"}).json()
    assert [(entry["action"], entry["subject_id"]) for entry in log["items"]] == [
        ("save_rules", "spring")
    ]


def test_a_preview_of_another_version_follows_saved_rules(shop):
    models = shop.server.served_models
    version = models.recommender().version
    other = dataclasses.replace(version, version="other")
    models._loader.load_for_preview = lambda _version: models.recommender().recommender.model
    assert models.load_other_recommender(other).recommender.placements["home"].rules
    save(shop, NO_BEER)
    shop.server.refresh()
    assert "spring" in models.load_other_recommender(other).recommender.placements["home"].rules
