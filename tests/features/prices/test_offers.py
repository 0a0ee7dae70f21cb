from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest
import sqlalchemy as sa

from features.database import reading, transaction
from features.prices.ledger import Ledger, NewPrice, PriceSource
from features.prices.offers import OfferPrices

START = datetime(2018, 1, 1, tzinfo=UTC)
IDS = np.array(["beer", "milk", "tea"], object)


def day(n):
    return START + timedelta(days=n)


def price(item, n, offer, until=None, zone="default"):
    return NewPrice(
        item_id=item,
        zone=zone,
        valid_from=day(n),
        valid_to=None if until is None else day(until),
        list_price_minor=offer,
        offer_price_minor=offer,
        currency="EUR",
        source=PriceSource.IMPORTED,
        recorded_at=START,
    )


def append(engine, *rows):
    with transaction(engine) as connection:
        Ledger(connection).append(rows)


@pytest.fixture
def queries(engine):
    said = []
    sa.event.listen(engine, "before_cursor_execute", lambda *each: said.append(each[2]))
    return said


def test_prices_follow_the_ledger_and_the_clock(engine):
    prices = OfferPrices(engine)
    append(engine, price("milk", 0, 100), price("tea", 5, 300), price("milk", 0, 7, zone="north"))
    assert prices.read(IDS, "default", day(1)).tolist() == pytest.approx(
        [np.nan, 100, np.nan], nan_ok=True
    )
    append(engine, price("milk", 2, 80, until=4))  # after the first look, and ahead of it
    assert prices.read(IDS, "default", day(1)).tolist() == pytest.approx(
        [np.nan, 100, np.nan], nan_ok=True
    )
    assert prices.read(IDS, "default", day(2)).tolist() == pytest.approx(
        [np.nan, 80, np.nan], nan_ok=True
    )
    assert prices.read(IDS, "default", day(4)).tolist() == pytest.approx(
        [np.nan, 100, np.nan], nan_ok=True
    )
    assert prices.read(IDS, "default", day(5)).tolist() == pytest.approx(
        [np.nan, 100, 300], nan_ok=True
    )
    assert prices.read(IDS[::-1], "default", day(5)).tolist() == pytest.approx(
        [300, 100, np.nan], nan_ok=True
    )
    assert prices.read(IDS, "north", day(5)).tolist() == pytest.approx(
        [np.nan, 7, np.nan], nan_ok=True
    )
    assert prices.read(IDS, "default", day(1)).tolist() == pytest.approx(
        [np.nan, 100, np.nan], nan_ok=True
    )


def test_while_nothing_moves_one_number_is_asked_for(engine, queries):
    append(engine, price("milk", 0, 100, until=9), price("tea", 5, 300))
    prices = OfferPrices(engine)
    first = prices.read(IDS, "default", day(6))
    queries.clear()
    assert prices.read(IDS, "default", day(8)) is first
    assert len([each for each in queries if each.startswith("SELECT")]) == 1


def test_a_random_ledger_is_the_ledger_at_every_instant(engine):
    random = Random(4)
    prices = OfferPrices(engine)
    at = 0.0
    for _ in range(40):
        at += random.random()
        begins = at + random.choice([-3, 0, 1])
        row = price(random.choice(IDS), begins, random.randint(1, 999))
        append(
            engine,
            replace(
                row,
                valid_to=random.choice(
                    [None, row.valid_from + timedelta(days=2 * random.random())]
                ),
            ),
        )
        with reading(engine) as connection:
            current = Ledger(connection).find_current(IDS, "default", day(at))
        expected = [current[item].offer_price_minor if item in current else np.nan for item in IDS]
        assert prices.read(IDS, "default", day(at)).tolist() == pytest.approx(expected, nan_ok=True)
