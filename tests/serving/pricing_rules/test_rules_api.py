"""Pricing rules over HTTP: read by whoever reads prices, saved by managers of the whole shop."""

import shutil

import pytest

from tests.shops.served_shop import make_settings, run_shop


@pytest.fixture
def shop(migrated_sqlite, tmp_path):
    """A running application of a shop that has neither models nor prices yet."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(migrated_sqlite, home / "shopwright.db")
    yield from run_shop(make_settings(home))


def test_rules_are_read_saved_compared_and_restored(shop):
    client = shop.client
    default = client.get("/v1/pricing-rules/default").json()
    assert (default["number"], default["author"]) == (0, None)
    body = {
        "name": "default",
        "values": {**default["values"], "max_change": 0.05},
        "comment": "calmer",
        "based_on": 0,
    }
    headers = {"Idempotency-Key": "once"}
    saved = client.post("/v1/pricing-rules", json=body, headers=headers).json()
    assert saved == client.post("/v1/pricing-rules", json=body, headers=headers).json()
    assert (saved["number"], saved["values"]["max_change"]) == (1, 0.05)
    assert client.post("/v1/pricing-rules", json=body).status_code == 409
    wrong = {**body, "values": {"max_chnge": 0.1}, "based_on": 1}
    assert client.post("/v1/pricing-rules", json=wrong).json()["hint"] == (
        "Did you mean 'max_change'?"
    )
    (version,) = client.get("/v1/pricing-rules/default/versions").json()["items"]
    assert version["differences"] == [{"path": "max_change", "before": 0.1, "after": 0.05}]
    back = {"number": 0, "comment": "back"}
    restored = client.post("/v1/pricing-rules/default/restore", json=back).json()
    assert (restored["number"], restored["restored_from"]) == (2, 0)
    listed = client.get("/v1/pricing-rules").json()["items"]
    assert {each["name"]: each["number"] for each in listed}["default"] == 2
    earlier = client.get("/v1/pricing-rules/default", params={"number": 1}).json()
    assert earlier["values"] == body["values"]
    assert client.get("/v1/pricing-rules/default", params={"number": 7}).status_code == 404
    assert client.get("/v1/pricing-rules/defualt").status_code == 422
