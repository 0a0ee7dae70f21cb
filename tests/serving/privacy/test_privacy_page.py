"""The commands of the page for whoever answers shoppers, run in their order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.facts.facts import Facts
from serving.cli.main import app
from tests.shops.environment import point_verbs_at
from tests.shops.folders import EVENT, NOW, Shop
from tests.shops.unsaid import list_unsaid

PAGE = Path(__file__).parents[3] / "docs" / "user-guide" / "privacy.md"


def list_commands() -> list[list[str]]:
    """Return the commands in the blocks of the page, without the program."""
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path, settings, engine, monkeypatch: pytest.MonkeyPatch) -> Shop:
    url = {"database_url": settings.database_url} if settings.database_url else {}
    shop = Shop(tmp_path, **url)
    shop.load([EVENT | {"user_id": "42"}, EVENT])
    point_verbs_at(monkeypatch, settings, NOW.isoformat())
    monkeypatch.chdir(tmp_path)
    return shop


def test_the_commands_of_the_page_do_what_it_says(shop: Shop, tmp_path: Path) -> None:
    export, erase, refuse, flagged = list_commands()
    assert "1 events" in run(*export)
    document = json.loads((tmp_path / "erika.json").read_text())
    assert document["events"][0]["user_id"] == "42"
    assert json.loads(run("privacy", "export", "u", "--json"))["user_id"] == "u"
    assert "1 imported rows" in run(*erase)
    events = Facts(shop.settings).read("events").to_pyarrow().to_pylist()
    assert [event["user_id"] for event in events] == ["u"]
    assert "does not allow" in run(*refuse)
    run("privacy", "consent", "42", "--allow")
    assert "does not allow" in run(*refuse)
    stated = json.loads(run("privacy", "consent", "42", "--json"))
    assert list_unsaid(stated, run("privacy", "consent", "42")) == []
    assert stated["subject_id"] in run("audit", "list", "--subject", stated["subject_id"])
    run("rows", "exclude", "user_id=u", "--reason", "staff")
    assert '{"equals": {"user_id": "u"}}' in run(*flagged)
    erased = json.loads(run("privacy", "erase", "u", "--json"))
    assert (erased["imported_rows"], erased["rules"]) == (1, 1)
    again = json.loads(run("privacy", "erase", "u", "--json"))
    assert list_unsaid(again | {"erased_at": None}, run("privacy", "erase", "u")) == []
