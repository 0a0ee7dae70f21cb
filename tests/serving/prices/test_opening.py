from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from configs.zone_settings import ZoneSettings
from features.contracts.tables import TABLES
from features.database import reading, transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from serving.audit.repository import AuditRecords
from serving.prices import opening
from serving.prices.opening import OpeningReport, open_ledger
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_opening_price

CLOCK = FixedClock(NOW)


def rows(table, *values):
    schema = TABLES[table].arrow
    return pa.Table.from_pylist([{"zone": "default", **row} for row in values], schema)


def sale(n, item, days_ago, list_price=None, paid=90.0, **values):
    return {
        "event_id": f"e{n}",
        "event_type": "purchase",
        "occurred_at": NOW - timedelta(days=days_ago),
        "item_id": item,
        "quantity": 2.0,
        "line_amount_minor": int(2 * paid),
        "list_price_minor": list_price,
        **values,
    }


@pytest.fixture
def shop(settings):
    chosen = settings.model_copy(
        update={"currency": "EUR", "zones": {"jp": ZoneSettings(currency="JPY")}}
    )
    return chosen, Facts(chosen)


def ledger_rows(engine):
    with reading(engine) as connection:
        assert AuditRecords(connection).verify().intact
        return [
            (row.item_id, row.zone, row.offer_price_minor, str(row.source), row.currency)
            for row in Ledger(connection).list_after(0, 1_000)
        ]


def test_without_a_price_history_the_ledger_opens_with_the_median_regular_price(engine, shop):
    settings, facts = shop
    facts.write(
        {
            "events": rows(
                "events",
                sale(1, "milk", 1, 100.0),
                sale(2, "milk", 2, 120.0),
                sale(3, "milk", 27.9, 110.0),
                sale(4, "milk", 29, 500.0),  # before the four weeks
                sale(5, "milk", -1, 500.0),  # after now
                sale(6, "milk", 1, 500.0, event_type="refund"),
                sale(7, "tea", 1, None, paid=90.0),  # no regular price: what was paid for one
                sale(8, "milk", 1, 99.0, zone="jp"),
            )
        }
    )
    assert open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK) == OpeningReport(
        imported=0, catalogue=0, observed=3
    )
    expected = [
        ("milk", "default", 110, "observed", "EUR"),
        ("milk", "jp", 99, "observed", "JPY"),
        ("tea", "default", 90, "observed", "EUR"),
    ]
    assert ledger_rows(engine) == expected
    later = FixedClock(NOW + timedelta(days=30))
    assert open_ledger(facts, engine, settings, later, SYSTEM_CLOCK).total == 0
    assert ledger_rows(engine) == expected


def test_the_price_history_of_the_shop_comes_first_then_its_catalogue(engine, shop):
    settings, facts = shop
    begins, ends = NOW - timedelta(days=50), NOW - timedelta(days=40)
    facts.write(
        {
            "price_history": rows(
                "price_history",
                {
                    "item_id": "milk",
                    "valid_from": begins,
                    "valid_to": ends,
                    "list_price_minor": 100,
                    "offer_price_minor": 80,
                },
                {
                    "item_id": "milk",
                    "valid_from": ends,
                    "list_price_minor": 100,
                    "offer_price_minor": 120,
                },
            ),
            "items": pa.Table.from_pylist(
                [
                    {"item_id": "milk", "list_price_minor": 130},
                    {"item_id": "rice", "list_price_minor": 200},
                ],
                TABLES["items"].arrow,
            ),
            "events": rows(
                "events",
                sale(1, "milk", 1, 150.0),
                sale(2, "rice", 1, 150.0),
                sale(3, "tea", 1, 150.0),
            ),
        }
    )
    settings = settings.model_copy(update={"zones": {}})
    assert open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK) == OpeningReport(
        imported=2, catalogue=1, observed=1
    )
    assert ledger_rows(engine) == [
        ("milk", "default", 80, "imported", "EUR"),
        ("milk", "default", 120, "imported", "EUR"),
        ("rice", "default", 200, "imported", "EUR"),
        ("tea", "default", 150, "observed", "EUR"),
    ]
    with reading(engine) as connection:
        current = Ledger(connection).find_current(["milk"], "default", NOW)["milk"]
    assert (current.list_price_minor, current.valid_from) == (
        120,
        ends,
    )  # an offer above the list price lifts it
    assert open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK).total == 0


def test_an_empty_shop_has_an_empty_ledger(engine, shop):
    settings, facts = shop
    assert open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK).total == 0
    assert ledger_rows(engine) == []


def test_a_long_price_list_leaves_the_database_to_others_in_between(engine, shop, monkeypatch):
    monkeypatch.setattr(opening, "_PART", 2)
    monkeypatch.setattr(opening, "give_way", lambda _engine: decide_meanwhile())
    settings, facts = shop
    listed = [f"item-{n}" for n in range(5)]
    start = NOW - timedelta(days=30)
    facts.write(
        {
            "price_history": rows(
                "price_history",
                *(
                    {
                        "item_id": item,
                        "valid_from": start,
                        "list_price_minor": 100,
                        "offer_price_minor": 100,
                    }
                    for item in listed
                ),
            )
        }
    )
    decided = []

    def decide_meanwhile():
        # Another writer gets the lock, with a price that the list would have brought too.
        if decided:
            return
        decided.append(replace(make_opening_price("item-4"), valid_from=start))
        with transaction(engine) as connection:
            Ledger(connection).append(decided)

    report = open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK)
    assert report == OpeningReport(imported=4, catalogue=0, observed=0)
    assert [row[0] for row in ledger_rows(engine)] == [
        "item-0",
        "item-1",
        "item-4",
        "item-2",
        "item-3",
    ]
    assert open_ledger(facts, engine, settings, CLOCK, SYSTEM_CLOCK).total == 0
