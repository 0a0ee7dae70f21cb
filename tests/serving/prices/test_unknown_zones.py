"""A zone that nobody knows is refused, or named with the nearest right one, at every address."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

_ZONE = "defualt"
_MEANT = "Did you mean 'default'?"
_PROMOTION = {
    "item_ids": ["milk"],
    "starts_at": "2018-01-08T00:00:00Z",
    "ends_at": "2018-01-15T00:00:00Z",
    "mechanic": "percent_off",
    "percent": 0.2,
}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/forecasts/milk", 404),
        ("/v1/inventory", 404),
        ("/v1/price-changes", 422),
        ("/v1/price-changes?format=csv", 422),
        ("/v1/price-suggestions", 422),
        ("/v1/price-suggestions?format=csv", 422),
    ],
)
def test_lists_refuse_it(shared: SimpleNamespace, path: str, status: int) -> None:
    answer = shared.client.get(path, params={"zone": _ZONE})
    assert answer.status_code == status
    problem = answer.json()
    assert problem["detail"] == f"unknown zone '{_ZONE}'"
    assert problem["hint"] == _MEANT


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/prices/simulate", {"item_id": "milk", "prices": ["1.00"]}),
        ("/v1/promotions/simulate", _PROMOTION),
        ("/v1/promotions/suggest", {"item_ids": ["milk"]}),
    ],
)
def test_what_ifs_refuse_it(shared: SimpleNamespace, path: str, body: dict) -> None:
    answer = shared.client.post(path, json={**body, "zone": _ZONE})
    assert answer.status_code == 422, answer.text
    assert answer.json()["hint"] == _MEANT


def test_answers_of_the_storefront_name_it(shared: SimpleNamespace) -> None:
    """A shopper sees a page all the same."""
    asked = {"user_id": "u00", "zone": _ZONE}
    named = [f"unknown zone '{_ZONE}'. {_MEANT}"]
    slate = shared.client.post("/v1/recommendations", json={**asked, "placement": "home"}).json()
    assert slate["items"]
    assert slate["unknown"] == named
    ranked = shared.client.post("/v1/rank", json={**asked, "item_ids": ["milk"]}).json()
    assert ranked["unknown"] == named
    prices = shared.client.get("/v1/prices", params={"item_id": "milk", "zone": _ZONE}).json()
    assert [prices["unknown"]] == named


def test_a_known_zone_is_not_named(shared: SimpleNamespace) -> None:
    slate = shared.client.post("/v1/recommendations", json={"placement": "home"}).json()
    assert "unknown" not in slate
    assert shared.client.get("/v1/forecasts/milk").status_code == 200
    assert shared.client.get("/v1/price-changes?zone=default").json()["items"] == []
