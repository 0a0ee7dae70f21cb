"""Segments of imported tables that are damaged or gone are named with what to do; what can be made
again is made again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.settings import Settings
from features.contracts.errors import Damaged
from features.contracts.manifest import check_tables
from features.facts.facts import Facts
from features.facts.known_events import ImportedEvents
from features.facts.off_sale import OffSaleItems
from tests.shops.event_tables import make_table

AT = datetime(2024, 6, 1, tzinfo=UTC)
EVENT = {"event_id": "e1", "event_type": "view_item", "occurred_at": AT, "item_id": "tea"}
CONTENTS = [None, b"", b"\0\xffgarbage" * 9]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    tables = {"events": make_table("events", [EVENT | {"zone": "default"}])}
    tables["items"] = make_table("items", [{"item_id": "tea"}])
    Facts(settings).write(tables)
    return settings


def damage(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("table", ["events", "items"])
def test_a_damaged_segment_is_named(settings: Settings, table: str, content: bytes | None) -> None:
    (segment,) = (settings.home / "tables" / table).glob("*.parquet")
    damage(segment, content)
    message = rf"a segment of a table is (gone|damaged) .*{segment.name}.*from a backup"
    with pytest.raises(Damaged, match=message):
        Facts(settings).read(table)
    with pytest.raises(Damaged, match=message):  # what servers read
        if table == "items":
            OffSaleItems(settings).find(AT)
        else:
            ImportedEvents(settings).find(["e1"])


@pytest.mark.parametrize("content", CONTENTS)
def test_damaged_ids_of_imported_events_are_made_again(
    settings: Settings, content: bytes | None
) -> None:
    (ids,) = (settings.home / "tables" / "events").glob("*.ids.npy")
    whole = ids.read_bytes()
    damage(ids, content)
    assert ImportedEvents(settings).contain(["e1", "e2"]) == [True, False]
    assert ids.read_bytes() == whole


def test_two_damaged_manifests_say_what_to_do(settings: Settings) -> None:
    for name in ("manifest.json", "manifest.copy.json"):
        (settings.home / "tables" / name).write_text("{")
    with pytest.raises(Damaged, match=r"manifest\.copy\.json.*import all files into a new"):
        Facts(settings).read("items")


def test_an_import_of_the_same_rows_writes_a_damaged_manifest_anew(settings: Settings) -> None:
    tables = settings.home / "tables"
    (tables / "manifest.json").write_text("{")
    with pytest.raises(Damaged, match=r"its copy is read .*next import"):
        check_tables(tables)
    Facts(settings).write({"items": make_table("items", [{"item_id": "tea"}])})
    check_tables(tables)
