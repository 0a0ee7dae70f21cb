"""`shopwright experiments off-policy`: from slates that the server answered, and clicks it got."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput, UnknownName
from serving.cli.main import app
from tests.shops.served_shop import NOW, copy_shop, make_settings, run_shop

RUN = CliRunner()
N = 450


@pytest.fixture(scope="module")
def shop(tiny_home, tmp_path_factory):
    """A shop whose placement `lab` explores. Shoppers click the first item where it is the best."""
    root = tmp_path_factory.mktemp("off-policy")
    copy_shop(tiny_home, root / "home")
    (root / "configs" / "placements").mkdir(parents=True)
    placement = root / "configs" / "placements" / "lab.yaml"
    placement.write_text("scorer: all\nexploration: {share: 0.5}\n")
    settings = make_settings(root / "home", config_dir=root / "configs")
    n_best = 0
    for served in run_shop(settings):
        events = []
        for number in range(N):
            body = {"placement": "lab", "visitor_id": f"v{number}", "count": 2}
            answer = served.client.post("/v1/recommendations", json=body).json()
            first = answer["items"][0]
            if first["reason"] == "exploration":
                continue
            n_best += 1
            events.append(
                {
                    "event_id": f"click-{number}",
                    "event_type": "select_item",
                    "occurred_at": (NOW + timedelta(seconds=1)).isoformat(),
                    "visitor_id": f"v{number}",
                    "item_id": first["item_id"],
                    "recommendation_id": answer["recommendation_id"],
                }
            )
        assert served.client.post("/v1/events", json={"events": events}).status_code == 202
    return settings, n_best


@pytest.fixture
def environment(shop, monkeypatch):
    settings, _ = shop
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(settings.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", settings.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    monkeypatch.setenv("SHOPWRIGHT_CONFIG_DIR", str(settings.config_dir))


def off_policy(*arguments):
    command = ["experiments", "off-policy", "--placement", *arguments]
    return RUN.invoke(app, command, catch_exceptions=False).stdout


def test_a_placement_without_exploration_shows_the_best_item_first(shop, environment):
    document = json.loads(off_policy("lab", "--json"))
    assert (document["slates"], document["units"]) == (N, N)
    assert document["shown"] == pytest.approx(shop[1] / N)
    # Each slate that shows the best item first is clicked once.
    other = document["other"]
    assert (other["value"], other["low"], other["high"]) == pytest.approx((1, 1, 1))
    assert 100 < document["effective_size"] < N


def test_the_text_names_the_same_values(environment):
    text = off_policy("lab", "--share", "0.2")
    assert f"lab: {N} slates of {N} shoppers in 28 days" in text
    assert "With share 0.2 and places 0: 0." in text


def test_orders_are_another_reward(environment):
    assert json.loads(off_policy("lab", "--reward", "orders", "--json"))["shown"] == 0


def test_what_cannot_be_evaluated_is_refused(environment):
    with pytest.raises(UnknownName, match="Did you mean 'lab'"):
        off_policy("labb")
    with pytest.raises(BadInput, match="no logged slate has propensities"):
        off_policy("trending")
