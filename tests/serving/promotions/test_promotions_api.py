"""Promotions from the what-if to their end, over HTTP to a running server."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from features.contracts.errors import Conflict, Forbidden
from features.database import reading, transaction
from features.database_tables import promotions
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.access import Area
from serving.audit.repository import AuditRecords
from serving.database.activation_stops import find_stop
from serving.database.audit_log import Decider
from serving.database.desk_tables import price_locks
from serving.price_desk.controls import DeskControls
from serving.price_desk.service import PriceDeskService
from serving.promotions import decisions, lifecycle
from serving.promotions.lifecycle import hold_scheduled
from tests.shops.clocks import FixedClock
from tests.shops.event_tables import make_table
from tests.shops.price_desk import NOW, SYSTEM_NOW
from tests.shops.promotion_desk import make_price

WEEK = {"starts_at": "2018-01-08T00:00Z", "ends_at": "2018-01-15T00:00Z"}
BUTTER = {
    "name": "butter week",
    "item_ids": ["butter"],
    "mechanic": "percent_off",
    "percent": 0.2,
    **WEEK,
}


def file(desk, client=None, status=200, **values):
    answer = (client or desk.anna).post("/v1/promotions", json={**BUTTER, **values})
    assert answer.status_code == status, answer.text
    return answer.json()


def decide(client, promotion, step, status=200, **body):
    answer = client.post(f"/v1/promotions/{promotion['id']}/{step}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def read_price(desk, item, at=None, zone="default"):
    params = {"item_id": item, "zone": zone} | ({} if at is None else {"at": at.isoformat()})
    (price,) = desk.shop.get("/v1/prices", params=params).json()["items"]
    return price


def test_a_check_says_what_stands_against_a_promotion_and_files_nothing(desk):
    def check(**values):
        answer = desk.anna.post("/v1/promotions/check", json={**BUTTER, **values})
        assert answer.status_code == 200, answer.text
        return answer.json()

    fine = check()
    assert (fine["problems"], fine["large_moves"]) == ([], [])
    assert fine["items"][0]["promotion_price"] == "0.80"
    (move,) = check(percent=0.6)["large_moves"]
    assert (move["item_id"], "-60%" in move["why"]) == ("butter", True)
    assert desk.reader.get("/v1/promotions").json()["items"] == []
    filed = file(desk)
    assert filed["expected"] == fine["expected"]
    decide(desk.ben, filed, "approve")
    why = {problem["why"] for problem in check(name="again")["problems"]}
    assert "promotion 'butter week' runs at the same time" in why
    assert desk.reader.post("/v1/promotions/check", json=BUTTER).status_code == 403


def test_a_promotion_from_the_what_if_to_its_end(desk):
    asked = {name: value for name, value in BUTTER.items() if name != "name"}
    looked = desk.anna.post("/v1/promotions/simulate", json=asked).json()
    filed = file(desk)
    assert (filed["status"], filed["phase"], filed["kind"]) == ("submitted", "planned", "promotion")
    assert filed["terms"] == {"percent": 0.2}
    # The what-if that was looked at is the one that was filed.
    for name in ("expected", "without", "net"):
        assert filed["expected"][name] == looked[name]
    (item,) = filed["items"]
    assert (item["current_price"], item["promotion_price"], item["price_id"]) == (
        "1.00",
        "0.80",
        None,
    )
    assert read_price(desk, "butter", NOW + timedelta(days=8))["offer_price"] == "1.00"
    refused = decide(desk.anna, filed, "approve", status=403)
    assert "may not approve" in refused["detail"]
    approved = decide(desk.ben, filed, "approve", reason="agreed with the dairy")
    assert (approved["status"], approved["phase"]) == ("scheduled", "approved")
    assert read_price(desk, "butter")["offer_price"] == "1.00"
    forecast = desk.reader.get("/v1/forecasts/butter", params={"horizon": 3}).json()
    assert forecast["price_adjustment"]["week_factors"][1] > 1
    desk.move(days=8)
    price = read_price(desk, "butter")
    assert (price["list_price"], price["offer_price"]) == ("1.00", "0.80")
    assert price["valid_to"] == "2018-01-15T00:00:00Z"
    assert price["prior_price"] == "1.00"
    assert [(each["id"], each["mechanic"]) for each in price["promotions"]] == [
        (filed["id"], "percent_off")
    ]
    assert desk.reader.get(f"/v1/promotions/{filed['id']}").json()["phase"] == "live"
    desk.move(days=7)
    assert read_price(desk, "butter")["offer_price"] == "1.00"
    assert "promotions" not in read_price(desk, "butter")
    ended = desk.reader.get(f"/v1/promotions/{filed['id']}").json()
    assert (ended["status"], ended["phase"]) == ("expired", "ended")
    with reading(desk.engine) as connection:
        assert AuditRecords(connection).verify().intact
        entries = [
            (entry.actor, entry.action)
            for entry in AuditRecords(connection).page()
            if entry.subject_id == filed["id"]
        ]
    steps = [action for _, action in entries]
    assert steps == ["file", "approve", "go_live", "expire"]
    assert [actor for actor, _ in entries][2:] == ["system", "system"]


def test_an_approved_promotion_is_in_the_plan_that_the_next_forecast_learns_from(desk):
    rows = Facts(desk.settings).read("promotions").to_pyarrow().to_pylist()
    assert rows == []
    filed = file(desk, support=["display"], reach=0.5)
    assert Facts(desk.settings).is_empty("promotions")  # nobody approved it yet
    decide(desk.ben, filed, "approve")
    rows = Facts(desk.settings).read("promotions").order_by("promotion_id").to_pyarrow()
    assert [
        (row["item_id"], row["kind"], row["depth"], row["reach"]) for row in rows.to_pylist()
    ] == [("butter", "price", pytest.approx(0.2), 1.0), ("butter", "display", None, 0.5)]
    before = Facts(desk.settings).read("promotions", known_at=NOW)
    assert before.count().to_pyarrow().as_py() == 0  # decided after that
    desk.move(days=9)
    decide(desk.ben, filed, "end", reason="sold out")
    (end,) = {
        row["ends_at"] for row in Facts(desk.settings).read("promotions").to_pyarrow().to_pylist()
    }
    assert end == NOW + timedelta(days=9)
    assert read_price(desk, "butter")["offer_price"] == "1.00"


def test_the_law_forbids_a_reduction_that_is_none(desk):
    with transaction(desk.engine) as connection:
        Ledger(connection).append(
            [make_price("butter", 78, days=-20), make_price("butter", 100, days=-10)]
        )
    refused = file(desk, status=409)
    assert "butter: it is no reduction" in refused["detail"]
    # A coupon for everybody announces a lower price as well.
    coupon = file(desk, status=409, mechanic="coupon", take_up=0.5)
    assert "no reduction" in coupon["detail"]
    assert file(desk, percent=0.25)["status"] == "submitted"  # .75 lies below .78


def test_what_changed_in_the_ledger_since_the_filing_is_refused_at_the_approval(desk):
    filed, other = file(desk), file(desk, item_ids=["milk"], name="milk week")
    with transaction(desk.engine) as connection:
        Ledger(connection).append(
            [
                make_price("butter", 70, days=-3),  # an import that came late
                make_price("butter", 100, days=-2),
                make_price("milk", 120, days=-2),
            ]
        )
    refused = decide(desk.ben, filed, "approve", status=409)
    assert "no reduction" in refused["detail"]
    moved = decide(desk.ben, other, "approve", status=409)
    assert "1.00, now 1.20" in moved["detail"]
    assert decide(desk.ben, filed, "reject", reason="came too late")["phase"] == "dropped"


def test_a_promotion_that_overlaps_another_one_is_refused(desk):
    first, second = file(desk), file(desk, name="butter too", percent=0.3)
    decide(desk.ben, first, "approve")
    refused = decide(desk.ben, second, "approve", status=409)
    assert "'butter week' runs at the same time" in refused["detail"]
    again = file(desk, status=409, starts_at="2018-01-14T00:00Z", ends_at="2018-01-20T00:00Z")
    assert "runs at the same time" in again["detail"]
    # Another item, or the same one from its end on.
    file(desk, item_ids=["milk"])
    file(
        desk,
        mechanic="buy_get",
        percent=None,
        take_up=0.5,
        buy=3,
        **{**WEEK, "starts_at": "2018-01-15T00:00Z", "ends_at": "2018-01-20T00:00Z"},
    )
    easter = {
        "promotion_id": "easter",
        "item_id": "bread",
        "zone": "default",
        "kind": "price",
        "starts_at": NOW + timedelta(days=10),
        "ends_at": NOW + timedelta(days=12),
    }
    Facts(desk.settings).write({"promotions": make_table("promotions", [easter])})
    assert "'easter'" in file(desk, status=409, item_ids=["bread"])["detail"]


def test_a_price_that_is_scheduled_inside_the_time_is_refused(desk):
    with transaction(desk.engine) as connection:
        Ledger(connection).append([make_price("butter", 110, days=9)])
    assert "a price of 1.10 begins on 2018-01-10" in file(desk, status=409)["detail"]
    calendar = desk.reader.get(
        "/v1/promotions", params={"from": "2018-01-01T05:00:01Z", "to": "2018-02-01T00:00Z"}
    ).json()
    assert [(day["starts_at"], day["item_ids"]) for day in calendar["price_changes"]] == [
        ("2018-01-10T05:00:00Z", ["butter"])
    ]


def test_a_price_list_that_repeats_its_prices_every_week_keeps_the_promotion(desk):
    with transaction(desk.engine) as connection:
        Ledger(connection).append([make_price("butter", 100, days=day) for day in (0, 7, 14)])
    filed = file(desk, ends_at="2018-01-20T00:00Z")
    decide(desk.ben, filed, "approve")
    offers = [
        read_price(desk, "butter", NOW + timedelta(days=day))["offer_price"]
        for day in (6, 8, 14.5, 20)
    ]
    assert offers == ["1.00", "0.80", "0.80", "1.00"]
    desk.move(days=10)
    assert decide(desk.ben, filed, "end")["status"] == "rolled_back"
    offers = [
        read_price(desk, "butter", NOW + timedelta(days=day))["offer_price"]
        for day in (9, 10.1, 14.5, 20)
    ]
    assert offers == ["0.80", "1.00", "1.00", "1.00"]


def test_spend_and_save_over_three_items_is_one_promotion_that_the_storefront_sees(desk):
    filed = file(
        desk,
        name="满减",
        item_ids=["butter", "milk", "cheese"],
        mechanic="spend_save",
        percent=None,
        threshold="5",
        amount="1",
        mean_basket="3.00",
    )
    assert (filed["n_items"], filed["terms"]["threshold"]) == (3, "5.00")
    assert all(item["promotion_price"] is None for item in filed["items"])
    decide(desk.ben, filed, "approve")
    assert desk.shop.get("/v1/promotions/live").json()["items"] == []
    desk.move(days=8)
    for item in ("butter", "milk", "cheese"):
        price = read_price(desk, item)
        assert (price["offer_price"], price["valid_to"]) == ("1.00", None)
        (promotion,) = price["promotions"]
        assert (promotion["mechanic"], promotion["ends_at"]) == (
            "spend_save",
            "2018-01-15T00:00:00Z",
        )
        assert promotion["terms"] == {"threshold": "5.00", "amount": "1.00", "repeats": False}
    assert "promotions" not in read_price(desk, "bread")
    (live,) = desk.shop.get("/v1/promotions/live").json()["items"]
    assert live["item_ids"] == ["butter", "cheese", "milk"]
    assert set(live) == {
        *("id", "name", "zone", "currency", "mechanic", "terms"),
        *("starts_at", "ends_at", "item_ids"),
    }
    plans = Facts(desk.settings).read("promotions").to_pyarrow().to_pylist()
    assert {(row["kind"], row["attributes"]) for row in plans} == {
        ("spend_save", '{"amount": "1.00", "repeats": false, "threshold": "5.00"}')
    }


def test_a_category_is_promoted_as_one(desk):
    filed = file(desk, item_ids=[], category="Food")
    assert sorted(item["item_id"] for item in filed["items"]) == [
        *("bread", "butter", "cheese", "milk"),
    ]
    decide(desk.ben, filed, "approve")
    assert desk.reader.get("/v1/promotions").json()["items"][0]["n_items"] == 4
    changes = desk.reader.get("/v1/price-changes", params={"limit": 1000}).json()["items"]
    assert sum(change["source"] == "desk" for change in changes) == 4
    assert "'Food'" in file(desk, status=422, item_ids=[], category="Foot")["hint"]
    assert file(desk, status=422, item_ids=[])["detail"].startswith("give either")


def test_a_promotion_that_ends_before_it_began_never_was(desk):
    filed = file(desk)
    decide(desk.ben, filed, "approve")
    ended = decide(desk.ben, filed, "end", reason="no stock")
    assert (ended["status"], ended["phase"]) == ("rolled_back", "dropped")
    assert read_price(desk, "butter", NOW + timedelta(days=8))["offer_price"] == "1.00"
    assert Facts(desk.settings).is_empty("promotions")
    decide(desk.ben, filed, "end", status=409)
    # Its time is free again.
    second = file(desk, name="second", percent=0.1)
    decide(desk.ben, second, "approve")
    assert read_price(desk, "butter", NOW + timedelta(days=8))["offer_price"] == "0.90"


def test_only_whoever_filed_a_promotion_cancels_it(desk):
    filed = file(desk)
    decide(desk.ben, filed, "cancel", status=403)
    assert decide(desk.anna, filed, "cancel", reason="slip")["status"] == "rejected"
    decide(desk.ben, filed, "approve", status=409)
    assert desk.reader.get("/v1/promotions").json()["items"] == []
    dropped = desk.reader.get("/v1/promotions", params={"phase": "dropped"}).json()["items"]
    assert [each["id"] for each in dropped] == [filed["id"]]


def test_nobody_decided_in_time(desk):
    filed = file(desk)
    desk.move(days=20)
    assert desk.reader.get(f"/v1/promotions/{filed['id']}").json()["phase"] == "dropped"
    decide(desk.ben, filed, "approve", status=409)


def test_what_no_longer_holds_when_it_begins_goes_back_with_the_reason(desk):
    filed = file(desk)
    decide(desk.ben, filed, "approve")
    with transaction(desk.engine) as connection:
        Ledger(connection).append(
            [make_price("butter", 79, days=3), make_price("butter", 100, days=4)]
        )
    desk.move(days=8)
    returned = desk.reader.get(f"/v1/promotions/{filed['id']}").json()
    assert (returned["status"], returned["decided_by"]) == ("submitted", None)
    assert "it no longer holds" in returned["reason"] and "no reduction" in returned["reason"]
    assert read_price(desk, "butter")["offer_price"] == "1.00"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"percent": 0.6, "confirm": ["margin floor"]}, "confirm_large_change"),
        ({"mechanic": "price_off", "amount": "1.00", "percent": None}, "nothing would be paid"),
        ({"mechanic": "price_off", "amount": "0.00", "percent": None}, "above 0"),
        ({"mechanic": "bundle", "amount": "1.50", "percent": None}, "take_up"),
        ({"ends_at": "2018-01-08T00:00Z"}, "ends after"),
        ({"ends_at": "soon"}, "no time"),
        ({"item_ids": ["nothing"]}, "no price"),
        ({"zone": "nowhere"}, "unknown zone"),
        ({"amount": "1.00"}, "percent_off has no amount"),
        ({"user_id": "u1"}, "user_id"),
    ],
)
def test_what_cannot_be_filed_says_why(desk, values, word):
    answer = desk.anna.post("/v1/promotions", json={**BUTTER, **values})
    assert answer.status_code in (409, 422)
    assert word in answer.text


def test_a_bundle_costs_less_than_its_items(desk):
    bundle = {"mechanic": "bundle", "percent": None, "take_up": 0.3, "item_ids": ["butter", "milk"]}
    assert "no less than its items" in file(desk, status=409, amount="2.00", **bundle)["detail"]
    filed = file(desk, amount="1.70", **bundle)
    assert filed["terms"] == {"amount": "1.70"}


def test_each_door_asks_for_its_scope_and_repeats_change_nothing(desk):
    assert desk.reader.post("/v1/promotions", json=BUTTER).status_code == 403
    assert desk.reader.get("/v1/promotions/live").status_code == 403
    assert desk.shop.get("/v1/promotions").status_code == 403
    headers = {"Idempotency-Key": "once"}
    first = desk.anna.post("/v1/promotions", json=BUTTER, headers=headers)
    again = desk.anna.post("/v1/promotions", json=BUTTER, headers=headers)
    assert again.json() == first.json()
    assert len(desk.reader.get("/v1/promotions").json()["items"]) == 1
    path = f"/v1/promotions/{first.json()['id']}"
    assert desk.reader.get(path).headers["ETag"] == '"1"'
    stale = desk.ben.post(f"{path}/approve", json={}, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    assert desk.reader.post(f"{path}/approve", json={}).status_code == 403
    assert desk.anna.get("/v1/promotions", params={"user_id": "1"}).status_code == 422
    assert desk.anna.get("/v1/promotions/promo_none").status_code == 404


def test_of_two_approvers_at_once_one_wins(desk):
    filed = file(desk, item_ids=["butter", "milk"])
    path = f"/v1/promotions/{filed['id']}/approve"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda who: who.post(path, json={}), (desk.ben, desk.carla)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    changes = desk.reader.get("/v1/price-changes", params={"limit": 1000}).json()["items"]
    assert sum(change["source"] == "desk" for change in changes) == 2


def test_a_price_that_was_rolled_back_is_promoted_no_more(desk):
    filed = file(desk, item_ids=["butter", "milk"])
    decide(desk.ben, filed, "approve")
    desk.move(days=8)
    milk = read_price(desk, "milk")
    answer = desk.ben.post(
        f"/v1/price-changes/{milk['price_id']}/rollback", json={"reason": "slip"}
    )
    assert answer.status_code == 200, answer.text
    assert "promotions" not in read_price(desk, "milk")
    assert read_price(desk, "butter")["promotions"]
    ends = {
        row["item_id"]: row["ends_at"]
        for row in Facts(desk.settings).read("promotions").to_pyarrow().to_pylist()
    }
    assert ends == {"butter": NOW + timedelta(days=13, hours=19), "milk": NOW + timedelta(days=8)}
    # What is left ends with the promotion.
    assert decide(desk.ben, filed, "end")["status"] == "rolled_back"
    assert read_price(desk, "butter")["offer_price"] == "1.00"


def test_a_coupon_for_everybody_was_a_price_that_was_asked(desk):
    coupon = {"mechanic": "coupon", "take_up": 0.3, "coupon_reach": 0.4}
    filed = file(desk, **coupon)
    decide(desk.ben, filed, "approve")
    desk.move(days=15)
    assert read_price(desk, "butter")["offer_price"] == "1.00"
    soon = {"starts_at": "2018-02-01T00:00Z", "ends_at": "2018-02-05T00:00Z"}
    assert "no reduction" in file(desk, status=409, percent=0.15, **soon)["detail"]
    assert file(desk, percent=0.25, **soon)["status"] == "submitted"


def test_a_promotion_needs_a_role_for_every_item(desk):
    filed = file(desk, item_ids=["butter", "beer"])
    now = desk.service.clock.now()
    dairy = Decider("dana", now, now, areas=(Area("Food"),))
    with pytest.raises(Forbidden, match="Drinks"), transaction(desk.engine) as connection:
        decisions.approve(connection, dairy, filed["id"], [])
    both = Decider("dana", now, now, areas=(Area("Food"), Area("Drinks")))
    with transaction(desk.engine) as connection:
        assert decisions.approve(connection, both, filed["id"], []).status == "scheduled"


def test_the_database_itself_wants_four_eyes(desk):
    filed = file(desk)
    statement = sa.update(promotions).where(promotions.c.id == filed["id"])
    own = {"status": "live", "decided_by": promotions.c.proposed_by, "decided_at": NOW}
    with pytest.raises(sa.exc.IntegrityError), transaction(desk.engine) as connection:
        connection.execute(statement.values(own))
    with pytest.raises(sa.exc.IntegrityError), transaction(desk.engine) as connection:
        connection.execute(statement.values(status="live"))


def test_a_usual_price_that_is_struck_through_for_ever_can_be_promoted(desk):
    struck = replace(make_price("butter", 90, days=-50), list_price_minor=100)
    with transaction(desk.engine) as connection:
        Ledger(connection).append([struck])
    filed = file(desk)
    assert filed["items"][0]["promotion_price"] == "0.72"
    decide(desk.ben, filed, "approve")
    desk.move(days=8)
    price = read_price(desk, "butter")
    assert (price["list_price"], price["offer_price"], price["prior_price"]) == (
        "1.00",
        "0.72",
        "0.90",
    )


def test_a_price_that_is_locked_is_not_promoted(desk):
    lock = {"id": "lock_1", "item_id": "butter", "zone": "default", "reason": "tender of the city"}
    times = {"begins_at": NOW, "ends_at": NOW + timedelta(days=9)}
    with transaction(desk.engine) as connection:
        connection.execute(price_locks.insert().values(**lock, **times, locked_by="carla"))
        everywhere = {**lock, "id": "lock_2", "item_id": "bread", "zone": ""}
        connection.execute(price_locks.insert().values(**everywhere, **times, locked_by="carla"))
    assert "its price is locked: tender of the city" in file(desk, status=409)["detail"]
    assert "its price is locked" in file(desk, status=409, item_ids=["bread"])["detail"]
    file(desk, item_ids=["milk"])
    file(desk, starts_at="2018-01-11T00:00Z")


def test_a_stop_of_activations_sends_back_promotions_that_have_not_begun(desk):
    clock = FixedClock(NOW)
    price_desk = PriceDeskService(desk.settings, desk.engine, clock, clock, PLAIN_RULES)
    controls = DeskControls(price_desk, hold_scheduled)
    manager = Decider("mia", NOW, SYSTEM_NOW, reason="wrong costs")
    scheduled, waiting = file(desk), file(desk, name="bread week", item_ids=["bread"])
    decide(desk.ben, scheduled, "approve")
    with transaction(desk.engine) as connection:
        assert controls.switch(connection, manager, stopped=True) == 1
    returned = desk.reader.get(f"/v1/promotions/{scheduled['id']}").json()
    assert (returned["status"], returned["reason"]) == (
        "submitted",
        "activations were stopped: wrong costs",
    )
    desk.move(days=8)
    assert read_price(desk, "butter")["offer_price"] == "1.00"
    refused = decide(desk.ben, waiting, "approve", status=409)
    assert refused["detail"] == "activations are stopped: wrong costs"
    with transaction(desk.engine) as connection:
        controls.switch(connection, manager, stopped=False)
    assert decide(desk.ben, waiting, "approve")["status"] == "live"
    assert decide(desk.ben, returned, "approve")["status"] == "live"
    assert read_price(desk, "butter")["offer_price"] == "0.80"


def test_a_stop_of_activations_stands_though_a_promotion_cannot_be_taken_back(desk, monkeypatch):
    clock = FixedClock(NOW)
    price_desk = PriceDeskService(desk.settings, desk.engine, clock, clock, PLAIN_RULES)
    scheduled = file(desk)
    decide(desk.ben, scheduled, "approve")

    def refuse(*_arguments):
        raise Conflict("the law forbids the price before")

    monkeypatch.setattr(lifecycle, "take_out_prices", refuse)
    with transaction(desk.engine) as connection:
        controls = DeskControls(price_desk, hold_scheduled)
        manager = Decider("mia", NOW, SYSTEM_NOW, reason="wrong costs")
        assert controls.switch(connection, manager, stopped=True) == 0
    kept = desk.reader.get(f"/v1/promotions/{scheduled['id']}").json()
    assert kept["status"] == "scheduled"
    assert kept["reason"].endswith("its prices stay: the law forbids the price before")
    with reading(desk.engine) as connection:
        assert find_stop(connection).reason == "wrong costs"
