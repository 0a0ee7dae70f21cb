"""Items off sale leave slates and order lists at the next call, by catalogue and by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from features.contracts.errors import BadInput
from features.facts.facts import Facts
from serving.cli.main import app as command_line
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW

PLACEMENTS = ("home", "buy_again", "new_arrivals", "trending", "product", "bought_together")


@pytest.fixture
def run(served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(served.settings.home))
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", served.settings.currency)
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", served.settings.clock_start.isoformat())

    def run(*words: str) -> dict[str, object]:
        result = CliRunner().invoke(command_line, ["items", *words, "--json"])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return run


def shown(served: SimpleNamespace) -> set[str]:
    """Return every item of the slates of all placements, fillers included."""
    bodies = [
        {"placement": name, "user_id": "u00", "item_ids": ["wine"], "in_stock_only": False}
        for name in PLACEMENTS
    ]
    answers = [served.client.post("/v1/recommendations", json=body).json() for body in bodies]
    return {item["item_id"] for answer in answers for item in answer["items"]}


def ordered(served: SimpleNamespace) -> set[str]:
    return {row["item_id"] for row in served.client.get("/v1/inventory").json()["items"]}


def test_a_retired_item_is_gone_at_the_next_call_until_it_is_restored(served, run) -> None:
    assert {"beer", "milk"} <= shown(served) & ordered(served)
    assert run("retire", "beer", "beer")["changed"] == ["beer"]
    assert "beer" not in shown(served) | ordered(served)
    assert run("retire", "beer")["changed"] == []
    # A feed that knows nothing of the decision does not undo it.
    items = [{"item_id": "beer", "title": "Beer", "category": "Drinks > Beer"}]
    Facts(served.settings).write({"items": make_table("items", items)})
    assert "beer" not in shown(served) | ordered(served)
    assert run("restore", "beer")["still_off_sale"] == []
    assert "beer" in shown(served) & ordered(served)
    audit = served.client.get("/v1/audit", params={"subject_id": "beer"}).json()["items"]
    assert [(row["actor"], row["action"]) for row in audit] == [
        ("operator", "retire"),
        ("operator", "restore"),
    ]


def test_the_catalogue_ends_the_sale_of_an_item_and_restore_does_not_undo_it(served, run) -> None:
    ends = [
        {"item_id": "beer", "status": "archived"},
        {"item_id": "bread", "published": False},
        {"item_id": "milk", "available_to": NOW - timedelta(days=1)},
    ]
    Facts(served.settings).write({"items": make_table("items", ends)})
    gone = {"beer", "bread", "milk"}
    assert not gone & (shown(served) | ordered(served))
    assert run("restore", "milk")["still_off_sale"] == ["milk"]
    assert "milk" not in shown(served)
    # A given list is the shop's own choice.
    body = {"user_id": "u00", "item_ids": ["beer", "wine"]}
    ranked = served.client.post("/v1/rank", json=body).json()["items"]
    assert {item["item_id"] for item in ranked} == {"beer", "wine"}


def test_an_unknown_id_is_refused_with_the_nearest_one_and_changes_nothing(served, run) -> None:
    with pytest.raises(BadInput, match=r"(?s)'beeer'.*'beer'"):
        run("retire", "milk", "beeer")
    assert "milk" in shown(served)
