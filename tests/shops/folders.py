"""A folder of tables, and the shop that imports it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.settings import Settings
from features.facts.facts import Facts
from features.sources.folder import import_folder
from features.sources.report import ImportReport

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ITEMS = [{"item_id": "a", "list_price": "1.99"}, {"item_id": "b", "list_price": "3"}]
EVENT = {
    "event_type": "purchase",
    "occurred_at": "2024-05-01T10:00:00Z",
    "user_id": "u",
    "item_id": "a",
    "quantity": "2",
}

# One good row by table, without its item or other id.
GOOD_ROWS = {
    "events": {"event_type": "view_item", "occurred_at": "2024-05-01"},
    "items": {},
    "users": {},
    "price_history": {"valid_from": "2023-05-01", "list_price": "2", "offer_price": "2"},
    "promotions": {"item_id": "a", "starts_at": "2023-05-01", "ends_at": "2025-05-01"},
    "costs": {"valid_from": "2023-05-01", "unit_cost": "1"},
    "stock": {"at": "2024-05-01", "on_hand": "3"},
    "competitor_prices": {"competitor": "c", "observed_at": "2024-05-01", "price": "1"},
    "regressors": {"at": "2024-05-01", "value": "1"},
    "closures": {"starts_at": "2023-05-01", "ends_at": "2025-05-01"},
}


def write_csv(path: Path, rows: list[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


class Shop:
    def __init__(self, root: Path, **settings: Any) -> None:
        self.folder = root / "tables to import"
        self.folder.mkdir(parents=True)
        self.settings = Settings.model_validate(
            {"home": root / "home", "max_bad_share": 0.5, **settings}
        )
        self.facts = Facts(self.settings)
        write_csv(self.folder / "items.csv", ITEMS)

    def load(
        self, events: list[Mapping[str, Any]] | None = None, *, now: datetime = NOW
    ) -> ImportReport:
        if events is not None:
            write_csv(self.folder / "events.csv", events)
        return import_folder(
            self.folder, self.facts, self.settings, now=now, progress=lambda _: None
        )

    def rows(self, table: str = "events") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.facts.read(table).to_pyarrow().to_pylist()
        return rows
