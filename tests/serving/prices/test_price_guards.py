"""A price that slips is not served by any door until somebody says that it is meant; a price list
that ended goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from configs.settings import Settings
from features.facts.facts import Facts
from serving.app import create_app
from serving.cli.main import app
from serving.keys.service import KeyService
from tests.shops.environment import point_verbs_at

EVENTS = "event_type,occurred_at,item_id,quantity,unit_price\n"
ITEMS = """item_id,title,category,list_price
tee,Tee,Fashion > Tops > Tees,25.95
mug,Mug,Home > Kitchen > Mugs,9.95
"""
HEAD = "item_id,valid_from,valid_to,list_price,offer_price\n"
SLIP = """tee,2024-04-01T00:00:00Z,2024-05-20T00:00:00Z,25.95,25.95
tee,2024-05-20T00:00:00Z,,25.95,0.01
mug,2024-04-01T00:00:00Z,2024-05-20T00:00:00Z,9.95,9.95
mug,2024-05-20T00:00:00Z,,9.95,0
"""
SCOPES = ["storefront", "pricing.read", "pricing.propose", "pricing.approve"]


@pytest.fixture
def shop(settings, engine, monkeypatch, tmp_path):
    """A shop whose price list is given to `import_`, and its server."""
    point_verbs_at(monkeypatch, settings, "2024-06-03T00:00:00Z")
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "events.csv").write_text(EVENTS + "purchase,2024-05-01T10:00:00Z,tee,1,25.95\n")
    (folder / "items.csv").write_text(ITEMS)

    class Shop:
        client: TestClient

        def import_(self, rows, *options, text=False):
            (folder / "price_history.csv").write_text(HEAD + rows)
            arguments = ["import", str(folder), *options, *([] if text else ["--json"])]
            done = CliRunner().invoke(app, arguments, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            return done.output if text else json.loads(done.stdout)

        def quotes(self):
            answer = self.client.get("/v1/prices", params={"item_id": ["tee", "mug"]}).json()
            return {quote["item_id"]: quote for quote in answer["items"]}

        def offers(self):
            return {item_id: quote["offer_price"] for item_id, quote in self.quotes().items()}

        def offer_at(self, item_id, day):
            at = f"{day}T00:00:00Z"
            answer = self.client.get("/v1/prices", params={"item_id": item_id, "at": at}).json()
            return answer["items"][0]["offer_price"]

        def act(self, path, body=None):
            self.n = getattr(self, "n", 0) + 1
            return self.client.post(path, json=body, headers={"Idempotency-Key": str(self.n)})

        def list_waiting(self):
            items = self.client.get("/v1/price-suggestions?status=submitted").json()["items"]
            return {item["item_id"]: item for item in items}

    made = Shop()
    with TestClient(create_app(Settings())) as client:
        server = client.app.state.server
        key = KeyService(server.engine, server.system_clock).create("shop", SCOPES).key
        client.headers["Authorization"] = f"Bearer {key}"
        made.client = client
        yield made


def test_prices_that_slip_wait_and_the_last_list_price_goes_on(shop):
    report = shop.import_(SLIP)
    assert report["prices_entered"] == {"imported": 2, "catalogue": 0}
    assert report["held"] == 2
    assert {row["item_id"]: row["reason"] for row in report["held_prices"]} == {
        "tee": "the offer price moves by -100.0%, from 25.95 to 0.01",
        "mug": "it is a price of nothing",
    }
    quotes = shop.quotes()
    assert {item_id: quote["offer_price"] for item_id, quote in quotes.items()} == {
        "tee": "25.95",
        "mug": "9.95",
    }
    assert {quote["expired_at"] for quote in quotes.values()} == {"2024-05-20T00:00:00Z"}
    assert [row["items"] for row in report["expired_lists"]] == [2]
    learnt = Facts(Settings()).read("price_history").offer_price_minor.min().to_pyarrow().as_py()
    assert learnt == 995
    text = shop.import_(SLIP, text=True)
    assert "held: 2 prices wait and are not served" in text
    assert "--accept-price-jumps" in text
    assert "the price lists of 2 items have ended, the last on 2024-05-20" in text


def test_prices_that_wait_are_released_by_an_option(shop):
    shop.import_(SLIP)
    report = shop.import_(SLIP, "--accept-price-jumps")
    assert (report["held"], report["prices_entered"]["imported"]) == (0, 2)
    assert shop.offers() == {"tee": "0.01", "mug": "0.00"}
    assert shop.import_(SLIP)["held"] == 0


def test_prices_that_wait_are_approved_one_by_one_on_the_desk_and_rejected_once(shop):
    shop.import_(SLIP)
    waiting = shop.list_waiting()
    assert {key: item["suggested_price"] for key, item in waiting.items()} == {
        "tee": "0.01",
        "mug": "0.00",
    }
    ids = [item["id"] for item in waiting.values()]
    many = shop.act("/v1/price-suggestions/bulk", {"action": "approve", "ids": ids}).json()
    assert (many["matched"], many["changed"]) == (2, 0)
    assert "approve it by itself" in many["refused"][0]["reason"]
    assert shop.act(f"/v1/price-suggestions/{waiting['mug']['id']}/reject").status_code == 200
    approved = shop.act(f"/v1/price-suggestions/{waiting['tee']['id']}/approve")
    assert approved.status_code == 200, approved.text
    assert shop.offers() == {"tee": "0.01", "mug": "9.95"}
    assert shop.list_waiting() == {}
    change = f"/v1/price-changes/{approved.json()['price_id']}/rollback"
    assert shop.act(change).status_code == 200
    assert shop.offers()["tee"] == "25.95"  # the list price that went on before
    shop.import_(SLIP)
    assert shop.list_waiting() == {}  # decided on already


def test_a_price_that_waits_leaves_the_desk_once_the_list_is_corrected_or_it_is_entered(shop):
    rows = "tee,2024-04-01,,25.95,25.95\nmug,2024-04-01,,9.95,9.95\n"
    slipped = rows + "tee,2024-05-20,,0.26,0.26\nmug,2024-05-20,,0.10,0.10\n"
    shop.import_(rows)
    assert shop.import_(slipped)["held"] == 2
    assert set(shop.list_waiting()) == {"tee", "mug"}
    shop.import_(slipped)
    assert set(shop.list_waiting()) == {"tee", "mug"}
    shop.import_(slipped.replace("0.26", "26.50"))
    assert set(shop.list_waiting()) == {"mug"}
    shop.import_(slipped.replace("0.26", "26.50"), "--accept-price-jumps")
    assert shop.list_waiting() == {}
    assert shop.offers() == {"tee": "26.50", "mug": "0.10"}


def test_a_correction_that_slips_waits_and_a_rollback_that_jumps_must_be_confirmed(shop):
    rows = "tee,2024-04-01,,25.95,25.95\nmug,2024-04-01,,9.95,9.95\n"
    assert shop.import_(rows)["held"] == 0
    slipped = rows.replace("25.95", "2595").replace("9.95,9.95", "9.95,8.95")
    report = shop.import_(slipped)
    assert (report["held"], report["prices_entered"]["imported"]) == (1, 1)
    assert shop.offers() == {"tee": "25.95", "mug": "8.95"}
    shop.import_(slipped, "--accept-price-jumps")
    assert shop.offers()["tee"] == "2595.00"
    change = f"/v1/price-changes/{shop.quotes()['tee']['price_id']}/rollback"
    refused = shop.act(change)
    assert refused.status_code == 409
    assert "moves by -99.0%, from 2595.00 to 25.95" in refused.json()["detail"]
    assert shop.act(change, {"confirm_large_change": True}).status_code == 200
    assert shop.offers()["tee"] == "25.95"


def test_what_a_shop_has_sold_at_for_weeks_and_the_end_of_a_promotion_are_no_slips(shop):
    rows = (
        "tee,2022-01-01,2024-02-01,10,10\ntee,2024-02-01,,25.95,25.95\n"  # dearer since February
        "mug,2024-01-01,,9.95,9.95\nmug,2024-05-20,,9.95,4.98\n"
    )
    assert shop.import_(rows)["held"] == 0
    assert shop.offers() == {"tee": "25.95", "mug": "4.98"}
    assert shop.import_(rows + "mug,2024-06-02,,9.95,9.95\n")["held"] == 0
    assert shop.offers()["mug"] == "9.95"


def test_amounts_that_round_to_nothing_or_by_much_are_said(shop):
    rows = (
        "tee,2024-04-01,,25.95,25.95\nmug,2024-04-01,,0.014,0.014\n"
        "mug,2024-05-01,,9.95,0.004\ntee,2024-05-01,,25.955,25.95\n"
    )
    report = shop.import_(rows, "--max-bad-share", "0.9")
    table = report["tables"]["price_history"]
    assert table["quarantined"] == {"offer_price rounds to nothing": 1}
    assert table["rounded"] == {"list_price": 1, "offer_price": 1}


def test_a_price_list_that_ended_yesterday_goes_on_at_its_list_price(shop):
    rows = "tee,2024-01-01,2024-06-02,25.95,20.00\nmug,2024-01-01,2024-06-02,9.95,9.95\n"
    shop.import_(rows)
    quotes = shop.quotes()
    assert {key: quote["offer_price"] for key, quote in quotes.items()} == {
        "tee": "25.95",
        "mug": "9.95",
    }
    assert datetime.fromisoformat(quotes["tee"]["valid_from"]) == datetime(2024, 6, 2, tzinfo=UTC)
    assert quotes["tee"]["expired_at"] == "2024-06-02T00:00:00Z"
    past = shop.client.get("/v1/prices?item_id=tee&at=2024-05-01T00:00:00Z").json()["items"][0]
    assert past["offer_price"] == "20.00"
    assert "expired_at" not in past


BASE = "tee,2024-01-01,,25.95,25.95\nmug,2024-01-01,,9.95,9.95\n"
REDUCED = BASE + "tee,2024-06-01,2024-06-20,25.95,19.95\n"


def test_a_promotion_that_a_list_shortens_ends_when_the_list_says(shop):
    assert shop.import_(REDUCED)["ended"] == 0
    assert shop.offers()["tee"] == "19.95"
    shorter = REDUCED.replace("2024-06-20", "2024-06-10")
    (ended,) = shop.import_(shorter)["ended_prices"]
    assert (ended["item_id"], ended["offer_price"]) == ("tee", "25.95")
    assert ended["valid_from"].startswith("2024-06-10")
    assert ended["valid_to"].startswith("2024-06-20")
    assert (shop.offer_at("tee", "2024-06-09"), shop.offers()["tee"]) == ("19.95", "19.95")
    assert (shop.offer_at("tee", "2024-06-10"), shop.offer_at("tee", "2024-06-25")) == (
        "25.95",
        "25.95",
    )
    over = REDUCED.replace("2024-06-20", "2024-06-02")  # its end has passed: now
    text = " ".join(shop.import_(over, text=True).split())
    assert "1 prices change at another time than earlier lists said" in text
    assert shop.offers()["tee"] == "25.95"
    assert shop.offer_at("tee", "2024-06-01") == "19.95"  # what was is not rewritten
    again = shop.import_(over)
    assert (again["ended"], again["shortened"]) == (0, 0)
    longer = shop.import_(REDUCED)  # the list brings it back
    assert longer["ended"] > 0
    assert (shop.offers()["tee"], shop.offer_at("tee", "2024-06-19")) == ("19.95", "19.95")
    assert shop.offer_at("tee", "2024-06-20") == "25.95"
    assert shop.import_(REDUCED)["ended"] == 0


def test_what_is_beneath_a_shortened_promotion_may_change_before_its_former_end(shop):
    beneath = BASE + "tee,2024-05-25,2024-06-15,25.95,22.95\n"
    shop.import_(beneath + "tee,2024-06-01,2024-06-20,25.95,19.95\n")
    shorter = beneath + "tee,2024-06-01,2024-06-10,25.95,19.95\n"
    assert shop.import_(shorter)["ended"] == 2
    days = ("2024-06-09", "2024-06-10", "2024-06-15", "2024-06-20")
    assert [shop.offer_at("tee", day) for day in days] == ["19.95", "22.95", "25.95", "25.95"]
    assert shop.import_(shorter)["ended"] == 0


def test_a_promotion_that_a_later_list_leaves_out_goes_on_and_is_said(shop):
    planned = REDUCED + "mug,2024-06-10,2024-06-20,9.95,7.95\n"
    shop.import_(planned)
    # A file that says nothing of an item and day says nothing of its promotions.
    partial = shop.import_("mug,2024-01-01,2024-06-05,9.95,9.95\n")
    assert partial["ended"] == 0
    assert [row["offer_price"] for row in partial["shortened_prices"]] == ["9.95"]
    for _ in range(2):  # as a shop that sends regular prices and promotions apart does every night
        report = shop.import_(BASE)
        assert report["ended"] == 0
        left_out = {row["item_id"]: row["ends_at"][:10] for row in report["shortened_prices"]}
        assert left_out == {"tee": "2024-06-03", "mug": "2024-06-10"}
        assert (shop.offers()["tee"], shop.offer_at("mug", "2024-06-12")) == ("19.95", "7.95")
        assert shop.import_(planned)["shortened"] == 0


def test_prices_that_no_list_gave_and_regular_prices_are_not_ended(shop):
    shop.import_(BASE + "tee,2024-06-01,,27.95,27.95\n")
    assert shop.import_(BASE)["ended"] == 0  # an old list does not undo a later regular price
    assert shop.offers()["tee"] == "27.95"
    only = "cup,2024-06-01,2024-06-20,9.95,9.95\n"
    shop.import_(BASE + only)
    report = shop.import_(BASE + only.replace("2024-06-20", "2024-06-02"))
    assert (report["ended"], report["shortened"]) == (0, 1)  # nothing is valid beneath
    (price,) = report["shortened_prices"]
    assert price["goes_on_until"].startswith("2024-06-20")


def test_a_promotion_that_somebody_approved_is_not_ended_by_a_list_and_is_said(shop):
    shop.import_(BASE)
    listed = BASE + "mug,2024-06-01,2024-06-20,9.95,4.50\n"  # moves by more than half: waits
    assert shop.import_(listed)["held"] == 1
    (waiting,) = shop.list_waiting().values()
    assert shop.act(f"/v1/price-suggestions/{waiting['id']}/approve").status_code == 200
    assert shop.offers()["mug"] == "4.50"
    report = shop.import_(BASE)
    assert (shop.offers()["mug"], report["ended"]) == ("4.50", 0)
    (price,) = report["shortened_prices"]
    assert (price["item_id"], price["offer_price"]) == ("mug", "4.50")
    text = " ".join(shop.import_(BASE, text=True).split())
    assert "approved them on the price desk" in text


HISTORY = "tee,2024-01-01,2024-05-01,25.95,19.95\ntee,2024-05-01,,25.95,25.95\n"
# 19.95 was asked until 33 days before; 24.95 of the list before is the lowest price since.
UNLAWFUL = "mug,2024-01-01,2024-05-20,9.95,7.95\nmug,2024-05-20,2024-06-01,9.95,9.95\n"
ANNOUNCED = UNLAWFUL + "mug,2024-06-01,2024-06-20,9.95,8.95\n"  # 7.95 is the prior price


def test_a_reduction_of_a_feed_that_the_price_law_forbids_waits(shop):
    shop.import_(HISTORY + UNLAWFUL)
    report = shop.import_(HISTORY + ANNOUNCED)
    assert (report["held"], report["prices_entered"]["imported"]) == (1, 0)
    (held,) = report["held_prices"]
    why = "it is no reduction: the lowest price of the 30 days before is not above it"
    assert (held["item_id"], held["reason"]) == ("mug", why)
    assert held["accepted_by"] == ["--accept-unlawful-reductions"]
    assert shop.offers() == {"tee": "25.95", "mug": "9.95"}
    text = " ".join(shop.import_(HISTORY + ANNOUNCED, text=True).split())
    assert "the price law forbids 1 of them" in text
    assert "--accept-unlawful-reductions" in text
    assert "--accept-price-jumps" not in text
    learnt = Facts(Settings()).read("price_history")
    assert learnt.filter(learnt.offer_price_minor == 895).count().to_pyarrow().as_py() == 0


def test_a_forbidden_reduction_is_released_by_an_option_or_lowered_on_the_desk(shop):
    shop.import_(HISTORY + UNLAWFUL)
    shop.import_(HISTORY + ANNOUNCED)
    (waiting,) = shop.list_waiting().values()
    path = f"/v1/price-suggestions/{waiting['id']}"
    refused = shop.act(f"{path}/approve")
    assert refused.status_code == 409
    assert "--accept-unlawful-reductions" in refused.json()["hint"]
    bulk = shop.act("/v1/price-suggestions/bulk", {"action": "approve", "ids": [waiting["id"]]})
    assert bulk.json()["changed"] == 0
    report = shop.import_(HISTORY + ANNOUNCED, "--accept-unlawful-reductions")
    assert (report["held"], report["prices_entered"]["imported"]) == (0, 1)
    assert shop.offers()["mug"] == "8.95"
    assert shop.import_(HISTORY + ANNOUNCED)["held"] == 0
    # The same, night after night, announces nothing anew.
    nightly = ANNOUNCED + "mug,2024-06-02,2024-06-20,9.95,8.95\n"
    assert shop.import_(HISTORY + nightly)["held"] == 0


def test_planned_reductions_wait_and_a_cut_that_spoils_a_planned_one_waits(shop):
    shop.import_(HISTORY + UNLAWFUL)
    planned = HISTORY + UNLAWFUL + "mug,2024-06-10,2024-06-20,9.95,8.95\n"
    assert shop.import_(planned)["held"] == 1
    # At 6.95 it is one; at 6.50 from next week on it would be none any more.
    planned = planned.replace("8.95", "6.95")
    assert shop.import_(planned)["held"] == 0
    report = shop.import_(planned + "mug,2024-06-05,,6.50,6.50\n")
    (held,) = report["held_prices"]
    assert "the promotion planned for 2024-06-10 would be no reduction" in held["reason"]


def test_a_price_before_in_the_same_feed_and_the_coupons_of_the_import_count(shop, tmp_path):
    shop.import_(HISTORY)
    rows = HISTORY + "tee,2024-06-01,2024-06-20,25.95,23.95\n"
    (tmp_path / "tables" / "promotions.csv").write_text(
        "promotion_id,item_id,starts_at,ends_at,kind,depth\n"
        "summer,tee,2024-05-20,2024-05-25,coupon,0.2\n"  # everybody paid 20.76
    )
    report = shop.import_(rows)
    assert [held["item_id"] for held in report["held_prices"]] == ["tee"]
    (tmp_path / "tables" / "promotions.csv").unlink()


def test_the_first_price_list_is_history_and_a_new_item_of_a_later_one_is_not(shop):
    first = "tee,2024-05-25,,25.95,19.95\n"  # reduced, and no price before is known
    report = shop.import_(first)
    assert (report["held"], report["tables"]["price_history"]["n_unlawful_reductions"]) == (0, 1)
    assert shop.offers()["tee"] == "19.95"
    # Corrected to last longer, and sent again every night: nothing is announced anew.
    assert shop.import_("tee,2024-05-25,2024-07-01,25.95,19.95\n")["held"] == 0
    assert shop.import_(first + "tee,2024-06-02,,25.95,19.95\n")["held"] == 0
    report = shop.import_(first + "cup,2024-06-01,,12.00,9.00\n")
    (held,) = report["held_prices"]
    assert held["reason"] == "it is no reduction: no price of this item is known before it"
    assert held["current_price"] is None
    assert shop.list_waiting() == {}


def test_a_price_list_after_the_catalogue_passes_the_same_guards(shop, tmp_path):
    """The catalogue opened the ledger; what the list says of the time before goes on from there."""
    done = CliRunner().invoke(app, ["import", str(tmp_path / "tables")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert shop.offers() == {"tee": "25.95", "mug": "9.95"}
    report = shop.import_("tee,2024-05-20,,25.95,0.02\nmug,2024-05-20,,9.95,8.95\n")
    assert [held["item_id"] for held in report["held_prices"]] == ["tee"]
    assert shop.offers() == {"tee": "25.95", "mug": "8.95"}
    assert shop.import_("tee,2024-05-20,,25.95,24.95\nmug,2024-05-20,,9.95,8.95\n")["held"] == 0
    assert shop.offers() == {"tee": "24.95", "mug": "8.95"}


PROMOTION = BASE + "tee,2024-06-01,2024-06-20,25.95,19.95\n"


def roll_back_promotion(shop):
    """Import a promotion of the tee and roll it back; return the row that restores its price."""
    shop.import_(PROMOTION)
    assert shop.offers()["tee"] == "19.95"
    answer = shop.act(f"/v1/price-changes/{shop.quotes()['tee']['price_id']}/rollback")
    assert answer.status_code == 200, answer.text
    assert shop.offers()["tee"] == "25.95"


def test_a_slip_beneath_a_rollback_waits_too(shop):
    roll_back_promotion(shop)
    report = shop.import_(
        PROMOTION.replace("tee,2024-01-01,,25.95,25.95", "tee,2024-01-01,,25.95,0.01")
    )
    assert report["held"] == 1
    assert shop.offers()["tee"] == "25.95"


def test_a_slip_beneath_a_promotion_waits_before_it_is_served(shop):
    shop.import_(PROMOTION)
    report = shop.import_(
        PROMOTION.replace("tee,2024-01-01,,25.95,25.95", "tee,2024-01-01,,25.95,0.01")
    )
    assert report["held"] == 1
    assert shop.offer_at("tee", "2024-06-21") == "25.95"


def test_a_promotion_that_was_rolled_back_stays_so_whatever_end_a_list_gives_it(shop):
    roll_back_promotion(shop)
    shop.import_(PROMOTION.replace("2024-06-20", "2024-06-18"))
    assert shop.offers()["tee"] == "25.95"
    assert shop.offer_at("tee", "2024-06-19") == "25.95"


def test_a_new_price_beneath_a_rollback_is_served_and_its_copy_is_not_rolled_back(shop):
    roll_back_promotion(shop)
    changed = PROMOTION.replace("tee,2024-01-01,,25.95,25.95", "tee,2024-01-01,,22.95,22.95")
    said = shop.import_(changed, text=True)
    assert "restored" in said
    quote = shop.quotes()["tee"]
    assert quote["offer_price"] == "22.95"
    answer = shop.act(f"/v1/price-changes/{quote['price_id']}/rollback")
    assert answer.status_code == 409
    assert "repeats the price of" in answer.json()["detail"]
