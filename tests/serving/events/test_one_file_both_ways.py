"""One file by import and over HTTP: each of its lines counts once, whichever comes first."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.settings import Settings
from configs.zone_settings import ZoneSettings
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from features.sources.folder import import_folder
from features.sources.report import TableReport
from tests.shops.served_shop import NOW, run_shop

# Offsets, fractions of a second, quantities and prices of odd decimals, blanks around an id, a
# default zone and another one, two equal lines, and columns that are not of the table, neither in
# the order of their names nor always filled.
FILE = """\
event_type,occurred_at,user_id,visitor_id,item_id,zone,quantity,unit_price,line_amount,rank,store,Channel,note
purchase,2017-12-30T10:00:00+02:00,u900,,wine,,1.5,0.29,,,9,web,"two
lines, ""quoted"" – é"
purchase,2017-12-30T10:00:00+02:00,u900,,wine,,1.5,0.29,,,9,web,"two
lines, ""quoted"" – é"
purchase,2017-12-30T08:00:00.250Z,u900,,beer,,0.333,,1.005,,,,
refund,2017-12-30 09:00:00-05:00,u901, , butter ,north,2,1.015,,,9,,x
view_item,2017-12-30T00:00:00Z,,v900,bread,,,,,3,,app,
view_item,2017-12-30T00:00:00Z,,v901,bread,,,,,3,,app,
"""
N_LINES = 6
WHO = ("u900", "u901", "v900", "v901")


@pytest.fixture
def served(tiny: Settings) -> Iterator[SimpleNamespace]:
    """A running shop that knows the zone of the file."""
    yield from run_shop(tiny.model_copy(update={"zones": {"north": ZoneSettings()}}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "events.csv").write_text(FILE, encoding="utf-8")
    return tmp_path / "given"


def import_file(shop: SimpleNamespace, folder: Path) -> TableReport:
    report = import_folder(
        folder, Facts(shop.settings), shop.settings, now=NOW, progress=lambda _: None
    )
    return report.tables["events"]


def send_file(
    shop: SimpleNamespace, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> dict[str, Any]:
    with (folder / "events.csv").open(encoding="utf-8", newline="") as file:
        lines = [change({k: v for k, v in row.items() if v}) for row in csv.DictReader(file)]
    answer = shop.client.post("/v1/events", json={"events": lines})
    assert answer.status_code == 202, answer.text
    answered: dict[str, Any] = answer.json()
    return answered


def count_lines(shop: SimpleNamespace) -> int:
    events = Facts(shop.settings).read("events")
    ours = events.filter(events.user_id.isin(WHO) | events.visitor_id.isin(WHO))
    return int(ours.count().to_pyarrow().as_py())


def test_import_first(served: SimpleNamespace, folder: Path) -> None:
    assert import_file(served, folder).written.new == N_LINES
    answer = send_file(served, folder)
    assert answer == {"accepted": 0, "duplicates": N_LINES, "rejected": []}
    assert count_lines(served) == N_LINES
    assert import_file(served, folder).written.unchanged == N_LINES


def test_http_first(served: SimpleNamespace, folder: Path) -> None:
    answer = send_file(served, folder)
    assert answer == {"accepted": N_LINES, "duplicates": 0, "rejected": []}
    assert count_lines(served) == N_LINES
    assert import_file(served, folder).written.new == N_LINES
    assert count_lines(served) == N_LINES
    assert send_file(served, folder)["duplicates"] == N_LINES


def test_both_doors_keep_the_same_values(served: SimpleNamespace, folder: Path) -> None:
    def read_lines() -> list[dict[str, Any]]:
        events = Facts(served.settings).read("events")
        ours = events.filter(events.user_id.isin(WHO) | events.visitor_id.isin(WHO))
        rows: list[dict[str, Any]] = ours.drop("attributes").order_by("event_id").to_pyarrow()
        return rows

    send_file(served, folder)
    sent = read_lines()
    import_file(served, folder)
    assert read_lines() == sent


def test_numbers_and_the_order_of_names_in_json_make_no_difference(
    served: SimpleNamespace, folder: Path
) -> None:
    def as_typed(line: dict[str, Any]) -> dict[str, Any]:
        numbers = {name: float(line[name]) for name in ("quantity", "unit_price") if name in line}
        if "store" in line:
            numbers["store"] = int(line["store"])
        return dict(sorted({**line, **numbers}.items(), reverse=True))

    import_file(served, folder)
    assert send_file(served, folder, as_typed)["duplicates"] == N_LINES


def test_a_file_imported_under_an_earlier_rule_changes_nothing(
    served: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids once counted extra columns in the order of the file; those ids stay."""
    with monkeypatch.context() as patch:
        # As a state folder of that time: every id is the earlier one.
        patch.setattr(Facts, "knows_events", lambda _, event_ids: [True] * len(event_ids))
        assert import_file(served, folder).written.new == N_LINES
    again = import_file(served, folder).written
    assert (again.new, again.replaced, again.unchanged) == (0, 0, N_LINES)
    assert count_lines(served) == N_LINES


def test_both_doors_refuse_the_same_line_for_the_same_reason(
    served: SimpleNamespace, folder: Path
) -> None:
    (folder / "events.csv").write_text(FILE + "purchase,2017-12-30T08:00:00Z,u9,,,,0,x,,,,,\n")
    with pytest.raises(BadInput, match="item_id is missing"):
        import_file(served, folder)
    rejected = send_file(served, folder)["rejected"]
    assert rejected == [
        {
            "index": N_LINES,
            "reason": "item_id: is missing; unit_price: is no amount of money; "
            "quantity: is not above 0",
        }
    ]


def test_another_spelling_of_the_same_values_is_the_same_line(
    served: SimpleNamespace, folder: Path
) -> None:
    """As after an export that a spreadsheet or a database wrote anew."""
    import_file(served, folder)
    respelt = FILE
    for given, written in (
        (",1.5,0.29,", ",1.50,.2900,"),
        (",2,1.015,", ",2.0,1.0150,"),
        (",0.333,,1.005,", ",0.3330,,1.00500,"),
        ("2017-12-30T10:00:00+02:00", "2017-12-30 08:00Z"),
    ):
        assert given in respelt
        respelt = respelt.replace(given, written)
    (folder / "events.csv").write_text(respelt, encoding="utf-8")
    again = import_file(served, folder).written
    assert (again.new, again.replaced, again.unchanged) == (0, 0, N_LINES)
    assert send_file(served, folder)["duplicates"] == N_LINES
    assert count_lines(served) == N_LINES


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_zone_that_becomes_known_moves_its_lines_and_doubles_none(
    tiny: Settings, folder: Path, is_sent: bool
) -> None:
    """Lines of a zone that nobody knew were lines of the default zone, by setting."""
    before = tiny.model_copy(update={"unknown_zones": "default"})
    for shop in run_shop(before):
        if is_sent:
            assert send_file(shop, folder)["accepted"] == N_LINES
        else:
            assert import_file(shop, folder).written.new == N_LINES
            assert send_file(shop, folder)["duplicates"] == N_LINES
    after = before.model_copy(update={"zones": {"north": ZoneSettings()}})
    shop = SimpleNamespace(settings=after)
    written = import_file(shop, folder).written
    n_moved = 0 if is_sent else 1
    assert (written.new, written.replaced) == (N_LINES * is_sent, n_moved)
    assert count_lines(shop) == N_LINES
    events = Facts(after).read("events")
    assert events.filter(events.zone == "north").user_id.to_pyarrow().to_pylist() == ["u901"]
    # And back: a zone that the settings lose again.
    written = import_file(SimpleNamespace(settings=before), folder).written
    assert written.new == 0
    assert count_lines(shop) == N_LINES


def test_a_state_folder_of_an_earlier_rule_keeps_the_ids_of_unknown_zones(
    tiny: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids once counted an unknown zone as the default zone that it became; those ids stay."""
    shop = SimpleNamespace(settings=tiny.model_copy(update={"unknown_zones": "default"}))
    with monkeypatch.context() as patch:
        patch.setattr(Facts, "knows_events", lambda _, event_ids: [True] * len(event_ids))
        assert import_file(shop, folder).written.new == N_LINES
    again = import_file(shop, folder).written
    assert (again.new, again.replaced, again.unchanged) == (0, 0, N_LINES)
