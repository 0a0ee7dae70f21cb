"""Shelf labels: what changes in a span of time, with old and new price, unit and prior price."""

import csv
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from configs.zone_settings import ZoneSettings
from features.contracts.errors import BadInput, UnknownName
from features.contracts.tables import TABLES
from features.database import transaction
from features.facts.facts import Facts
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from serving.prices.labels import LabelSpan
from serving.prices.service import PriceService
from tests.shops.clocks import FixedClock
from tests.shops.price_desk import NOW, make_opening_price

WEEK = LabelSpan("default", NOW, NOW + timedelta(days=7))


def price(item, offer, days, until=None, list_price=None):
    end = None if until is None else NOW + timedelta(days=until)
    opening = make_opening_price(item, offer)
    begins = NOW + timedelta(days=days)
    return replace(opening, valid_from=begins, valid_to=end, list_price_minor=list_price or offer)


@pytest.fixture
def shop(engine, settings):
    settings = settings.model_copy(
        update={
            "currency": "EUR",
            "timezone": "Europe/Berlin",
            "zones": {"default": ZoneSettings(currency="EUR", country="DE")},
        }
    )
    items = [
        {"item_id": "milk", "title": "=Milch", "size": "500 ml"},
        {"item_id": "tea", "title": "Tee", "size": "large"},
        {"item_id": "eggs", "title": "Eier", "size": "10 CT"},
    ]
    Facts(settings).write({"items": pa.Table.from_pylist(items, TABLES["items"].arrow)})
    return PriceService(settings, engine, FixedClock(NOW), PLAIN_RULES)


def write(shop, tmp_path, *prices, span=WEEK):
    with transaction(shop.engine) as connection:
        Ledger(connection).append(prices)
    path = tmp_path / "labels.csv"
    count = shop.write_labels(span, path, "csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count
    return rows


def test_a_label_has_what_machines_and_what_people_read(shop, tmp_path):
    """Half a litre at 1.19 is 2.38 a litre; the lowest of the 30 days before was 1.29."""
    rows = write(
        shop,
        tmp_path,
        price("milk", 139, days=-60),
        price("milk", 129, days=-20, until=-10, list_price=139),
        price("milk", 119, days=2, list_price=139),
    )
    (label,) = rows
    assert label["item_id"] == "milk"
    assert label["title"] == "'=Milch"
    assert (label["old_price"], label["new_price"], label["list_price"]) == ("1.39", "1.19", "1.39")
    assert (label["prior_price"], label["unit_price"], label["unit"]) == ("1.29", "2.38", "l")
    assert label["valid_from"] == "2018-01-03T05:00:00Z"
    assert label["label_from"] == "03.01.18, 06:00"
    assert label["label_price"] == "1,19\xa0€"
    assert label["label_unit_price"] == "2,38\xa0€ / l"


def test_the_end_of_a_promotion_needs_a_label_too(shop, tmp_path):
    rows = write(
        shop,
        tmp_path,
        price("eggs", 300, days=-60),
        price("eggs", 250, days=1, until=3, list_price=300),
    )
    assert [(row["old_price"], row["new_price"], row["prior_price"]) for row in rows] == [
        ("3.00", "2.50", "3.00"),
        ("2.50", "3.00", ""),
    ]
    assert [row["unit_price"] for row in rows] == ["0.25", "0.30"]


def test_a_list_that_ended_goes_on_at_its_list_price(shop, tmp_path):
    rows = write(shop, tmp_path, price("tea", 80, days=-20, until=2, list_price=100))
    (label,) = rows
    assert (label["old_price"], label["new_price"], label["unit_price"]) == ("0.80", "1.00", "")


def test_an_item_that_is_new_has_no_old_price(shop, tmp_path):
    (label,) = write(shop, tmp_path, price("tea", 100, days=1))
    assert (label["old_price"], label["new_price"]) == ("", "1.00")


@pytest.mark.parametrize(("days", "n_labels"), [(-0.001, 0), (0, 1), (6.999, 1), (7, 0), (40, 0)])
def test_the_span_begins_with_its_first_instant_and_ends_before_its_last(
    shop, tmp_path, days, n_labels
):
    rows = write(shop, tmp_path, price("tea", 100, days=-60), price("tea", 90, days=days))
    assert len(rows) == n_labels


def test_the_same_price_again_needs_no_label(shop, tmp_path):
    assert write(shop, tmp_path, price("tea", 100, days=-60), price("tea", 100, days=1)) == []


def test_an_unknown_zone_and_a_span_without_time_are_refused(shop, tmp_path):
    with pytest.raises(UnknownName):
        write(shop, tmp_path, span=replace(WEEK, zone="nroth"))
    with pytest.raises(BadInput, match="ends after it begins"):
        write(shop, tmp_path, span=replace(WEEK, until=WEEK.since))
