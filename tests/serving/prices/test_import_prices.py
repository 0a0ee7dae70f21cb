"""`shopwright import` brings the shop's own prices into the ledger, from which they are served at
once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from features.prices.ledger import Ledger
from features.prices.timeline import find_price_at
from serving.app import create_app
from serving.cli.main import app
from serving.keys.service import KeyService
from serving.prices import listed_prices
from tests.shops.environment import point_verbs_at

EVENTS = "event_type,occurred_at,item_id,quantity,unit_price,zone\n"
ITEMS = "item_id,list_price\nmilk,\nrice,2.50\n"
HEAD = "item_id,zone,valid_from,valid_to,list_price,offer_price\n"


@pytest.fixture
def shop(settings, engine, monkeypatch, tmp_path):
    """Runs verbs on a shop of two zones, one of another currency; `write` sets the files to
    import."""
    point_verbs_at(monkeypatch, settings, "2024-06-01T00:00:00Z")
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
    # Prices come before the catalogue here.
    monkeypatch.setenv("SHOPWRIGHT_MAX_UNKNOWN_ITEMS", "1")
    monkeypatch.setenv(
        "SHOPWRIGHT_ZONES", json.dumps({"north": {"currency": "EUR"}, "tokyo": {"currency": "JPY"}})
    )
    folder = tmp_path / "tables"
    folder.mkdir()

    class Shop:
        def write(self, **tables):
            for name, text in tables.items():
                (folder / f"{name}.csv").write_text(text)

        def run(self, *arguments):
            done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            return json.loads(done.stdout)

        def import_(self):
            return self.run("import", str(folder))["prices_entered"]

        def quotes(self, *items, zone):
            """List price, offer price and prior price by item."""
            with TestClient(create_app(Settings())) as client:
                server = client.app.state.server
                key = (
                    KeyService(server.engine, server.system_clock)
                    .create("shop", ["storefront"])
                    .key
                )
                answer = client.get(
                    "/v1/prices",
                    params={"item_id": items, "zone": zone},
                    headers={"Authorization": f"Bearer {key}"},
                ).json()
            return {
                quote["item_id"]: (quote["list_price"], quote["offer_price"], quote["prior_price"])
                for quote in answer["items"]
            }

        def prices(self, *items, zone):
            quotes = self.quotes(*items, zone=zone)
            return {item_id: offer for item_id, (_, offer, _) in quotes.items()}

    made = Shop()
    made.write(events=EVENTS + "purchase,2024-05-30T10:00:00Z,tea,1,3.00,north\n", items=ITEMS)
    return made


def test_a_price_list_is_served_right_after_its_import_and_so_is_its_correction(shop):
    shop.write(
        price_history=HEAD + "milk,north,2024-01-01,,1.20,1.20\nmilk,tokyo,2024-01-01,,180,150\n"
    )
    assert shop.import_() == {"imported": 2, "catalogue": 1}
    assert shop.prices("milk", "rice", "tea", zone="north") == {"milk": "1.20", "rice": "2.50"}
    assert shop.prices("milk", "rice", zone="tokyo") == {
        "milk": "150"
    }  # a list price in EUR is none in JPY
    assert shop.import_() == {"imported": 0, "catalogue": 0}
    shop.write(price_history=HEAD + "milk,north,2024-01-01,,1.20,1.10\n")
    assert shop.import_() == {"imported": 1, "catalogue": 0}
    assert shop.prices("milk", zone="north") == {"milk": "1.10"}
    shop.write(price_history=HEAD + "milk,north,2024-01-01,,1.20,1.20\n")  # it was right after all
    assert shop.import_() == {"imported": 1, "catalogue": 0}
    assert shop.prices("milk", zone="north") == {"milk": "1.20"}
    assert shop.import_() == {"imported": 0, "catalogue": 0}


def test_a_price_list_is_compared_with_a_part_of_the_ledger_at_a_time(shop, monkeypatch):
    """By one item and zone, and never with all rows at once."""
    monkeypatch.setattr(listed_prices, "_PART", 1)
    monkeypatch.delattr(Ledger, "read_all")
    assert shop.import_() == {"imported": 0, "catalogue": 1}  # rice, in the north
    shop.write(
        price_history=HEAD
        + "milk,north,2024-01-01,,1.20,1.20\n"
        + "rice,north,2024-01-01,,2.20,2.20\n"
        + "milk,tokyo,2024-01-01,,180,150\n"
        + "milk,north,2024-02-01,,1.30,1.25\n"
    )
    # Rice goes on from the opening as well.
    assert shop.import_() == {"imported": 5, "catalogue": 0}
    assert shop.prices("milk", "rice", zone="north") == {"milk": "1.25", "rice": "2.20"}
    assert shop.prices("milk", zone="tokyo") == {"milk": "150"}
    with reading(open_engine(Settings())) as connection:
        rows = Ledger(connection).list_after(1, 9)
    begins = [row.valid_from for row in rows[:4]]
    assert begins == sorted(begins)
    assert shop.import_() == {"imported": 0, "catalogue": 0}


def test_a_price_list_that_comes_after_the_catalogue_is_not_hidden_by_it(shop):
    assert shop.import_() == {"imported": 0, "catalogue": 1}
    shop.write(
        price_history=HEAD
        + "rice,north,2024-01-01,,2.20,2.20\nrice,north,2024-02-01,2024-03-01,2.20,1.90\n"
    )
    assert shop.import_() == {
        "imported": 3,
        "catalogue": 0,
    }  # two rows, and the one in force from the opening on
    assert shop.prices("rice", zone="north") == {"rice": "2.20"}
    assert shop.import_() == {"imported": 0, "catalogue": 0}


def test_what_lies_beneath_a_promotion_goes_on_when_that_ends_after_the_catalogue(shop):
    """The catalogue opened the ledger while the promotion of the price list was running."""
    shop.import_()
    shop.write(
        price_history=HEAD
        + "rice,north,2024-01-01,,2.20,2.20\nrice,north,2024-05-20,2024-06-10,2.20,1.90\n"
    )
    assert shop.import_()["imported"] == 4
    with reading(open_engine(Settings())) as connection:
        ledger = Ledger(connection)
        for day, offer in ((1, 190), (9, 190), (10, 220), (30, 220)):
            at = datetime(2024, 6, day, 12, tzinfo=UTC)
            assert ledger.find_current(["rice"], "north", at)["rice"].offer_price_minor == offer
    assert shop.import_() == {"imported": 0, "catalogue": 0}


def test_an_exported_ledger_is_a_price_list_that_can_be_imported(
    shop, engine, monkeypatch, tmp_path
):
    shop.write(
        price_history=HEAD
        + "milk,north,2024-01-01,,1.25,1.20\n"
        + "milk,north,2024-05-20,2024-06-20T12:30:00Z,1.25,0.99\n"
        + "milk,tokyo,2024-01-01,,180,150\n"
    )
    shop.import_()
    shop.write(
        price_history=HEAD
        + "milk,tokyo,2024-01-01,2024-03-01,180,140\nmilk,tokyo,2024-02-01,2024-02-05,99,99\n"
    )
    shop.import_()  # the correction ends in March: what it corrects holds after it
    out = tmp_path / "exported.csv"
    assert shop.run("prices", "export", "--out", str(out))["rows"] == 7
    with reading(engine) as connection:
        before = list(Ledger(connection).read_all())
    assert (
        "milk,north,2024-05-20T00:00:00Z,2024-06-20T12:30:00Z,1.25,0.99,,EUR,imported"
        in out.read_text()
    )
    assert "milk,tokyo,2024-03-01T00:00:00Z,,180,150,,JPY,imported" in out.read_text()
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tmp_path / "another"))
    monkeypatch.delenv("SHOPWRIGHT_DATABASE_URL", raising=False)
    shop.write(price_history=out.read_text())
    assert shop.import_() == {"imported": 7, "catalogue": 0}
    with reading(open_engine(Settings())) as connection:
        ledger = Ledger(connection)
        for zone in ("north", "tokyo"):
            for day in range(200):
                at = datetime(2023, 12, 31, 6, tzinfo=UTC) + timedelta(days=day)
                then = find_price_at(
                    [price for price in before if price.zone == zone and price.item_id == "milk"],
                    at,
                )
                now = ledger.find_current(["milk"], zone, at).get("milk")
                assert _money(now) == _money(then)
    assert shop.import_() == {"imported": 0, "catalogue": 0}


def _money(price):
    return (
        None if price is None else (price.list_price_minor, price.offer_price_minor, price.currency)
    )


def test_prices_of_the_default_zone_hold_in_the_zones_of_its_currency_without_their_own(shop):
    shop.write(
        price_history=HEAD
        + "milk,,2024-01-01,,1.20,1.20\nrice,,2024-01-01,,2.20,2.20\nrice,north,2024-01-01,,2,2\n"
    )
    assert shop.import_()["imported"] == 4
    assert shop.prices("milk", "rice", zone="north") == {"milk": "1.20", "rice": "2.00"}
    assert shop.prices("milk", "rice", zone="tokyo") == {}


def test_regular_prices_that_overlap_are_named(shop, tmp_path):
    shop.write(
        price_history=HEAD
        + "milk,north,2024-01-01,2025-01-01,1.00,1.00\n"
        + "milk,north,2024-03-01,2024-04-01,0.90,0.90\n"  # within the first
        + "milk,north,2024-05-01,2024-05-08,1.00,0.80\n"  # a promotion lies over it
        + "rice,north,2024-01-01,,2.00,2.00\n"
        + "rice,north,2024-05-01,,2.20,2.20\n"  # ends what is open
    )
    folder = str(tmp_path / "tables")
    table = shop.run("import", folder)["tables"]["price_history"]
    assert (table["n_overlapping"], table["overlapping"]) == (1, ["milk"])
    printed = CliRunner().invoke(app, ["import", folder], catch_exceptions=False).stdout
    assert "1 regular prices begin and end within an earlier one, of milk" in printed


def test_an_unlawful_reduction_of_the_price_list_is_imported_counted_and_quoted(shop, tmp_path):
    milk = (
        "milk,north,2024-01-01,,1.00,1.00\n"
        "milk,north,2024-02-01,,0.80,0.80\n"  # a regular cut
        "milk,north,2024-05-01,,1.00,0.80\n"  # 90 days later announced: 0.80 is the prior price
    )
    lawful = (
        "rice,north,2024-01-01,,2.00,2.00\n"
        "rice,north,2024-05-01,,2.00,1.50\n"
        "milk,tokyo,2024-01-01,,180,180\nmilk,tokyo,2024-05-01,,180,150\n"
    )
    shop.write(price_history=HEAD + milk + lawful)
    report = shop.run("import", str(tmp_path / "tables"))
    assert report["tables"]["price_history"]["n_unlawful_reductions"] == 1
    assert report["tables"]["events"]["n_unlawful_reductions"] == 0
    assert report["prices_entered"]["imported"] == 7
    assert shop.quotes("milk", "rice", zone="north") == {
        "milk": ("1.00", "0.80", "0.80"),
        "rice": ("2.00", "1.50", "2.00"),
    }
    assert shop.quotes("milk", zone="tokyo") == {"milk": ("180", "150", "180")}
    again = CliRunner().invoke(app, ["import", str(tmp_path / "tables")], catch_exceptions=False)
    assert "price_history: 1 announced reductions are unlawful" in " ".join(again.stdout.split())
