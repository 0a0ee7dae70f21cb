"""Promotions in zones whose clocks differ: midnight is midnight there."""

import pytest

from configs.settings import Settings
from configs.zone_settings import ZoneSettings
from tests.shops.promotion_desk import serve_desk

ZONES = {
    "shanghai": ZoneSettings(currency="EUR", timezone="Asia/Shanghai"),
    "new_york": ZoneSettings(currency="EUR", timezone="America/New_York"),
}


@pytest.fixture
def desk(engine, settings):
    given = settings.model_copy(update={"currency": "EUR", "zones": ZONES})
    with serve_desk(engine, given, list(ZONES)) as served:
        yield served


def read_offer(desk, zone):
    answer = desk.shop.get("/v1/prices", params={"item_id": "milk", "zone": zone}).json()
    return answer["items"][0]["offer_price"]


def test_a_promotion_begins_at_midnight_of_its_zone(desk):
    starts = {}
    for zone in ZONES:
        asked = {
            "name": zone,
            "item_ids": ["milk"],
            "zone": zone,
            "mechanic": "price_off",
            "amount": "0.10",
            "starts_at": "2018-01-08T00:00",
            "ends_at": "2018-01-09",
        }
        filed = desk.anna.post("/v1/promotions", json=asked).json()
        starts[zone] = filed["starts_at"], filed["ends_at"]
        approved = desk.ben.post(f"/v1/promotions/{filed['id']}/approve", json={})
        assert approved.status_code == 200, approved.text
    assert starts == {
        "shanghai": ("2018-01-07T16:00:00Z", "2018-01-08T16:00:00Z"),
        "new_york": ("2018-01-08T05:00:00Z", "2018-01-09T05:00:00Z"),
    }
    desk.move(days=6, hours=11)  # 2018-01-07T16:00Z
    assert [read_offer(desk, zone) for zone in ZONES] == ["0.90", "1.00"]
    desk.move(hours=13)
    assert [read_offer(desk, zone) for zone in ZONES] == ["0.90", "0.90"]
    desk.move(hours=11)
    assert [read_offer(desk, zone) for zone in ZONES] == ["1.00", "0.90"]
    live = desk.shop.get("/v1/promotions/live", params={"zone": "new_york"}).json()["items"]
    assert [promotion["name"] for promotion in live] == ["new_york"]
    desk.move(hours=13)
    assert [read_offer(desk, zone) for zone in ZONES] == ["1.00", "1.00"]


def test_a_zone_names_a_time_zone_that_exists(tmp_path):
    with pytest.raises(ValueError, match="Europe/Berlin"):
        Settings(home=tmp_path, zones={"de": {"timezone": "Berlin"}})
    settings = Settings(home=tmp_path, timezone="Europe/Paris", zones={"de": {}})
    assert settings.find_timezone("de") == "Europe/Paris"
    assert settings.find_timezone("elsewhere") == "Europe/Paris"
