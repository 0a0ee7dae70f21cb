"""`shopwright inventory`: the replenishment list."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import Unavailable
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.models import no_champion
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.inventory.service import Inventory

_SHOWN = 20


def inventory(
    zone: Annotated[str, typer.Option(help="Which zone")] = DEFAULT_ZONE,
    out: Annotated[Path | None, typer.Option(help="CSV file for the whole list")] = None,
    json: JsonOption = False,
) -> None:
    """Say what to order, with reorder point, safety stock, days of cover, ABC and XYZ class, and
    slow movers."""
    from models.demand.lookup import load_forecasts
    from serving.inventory.service import inventory as replenishment

    shop = Shop()
    champion = shop.registry.champion("demand")
    if champion is None:
        raise Unavailable("no demand model is champion yet", hint=no_champion("demand"))
    table = load_forecasts(shop.registry.fetch(champion))
    found = replenishment(shop.facts, shop.engine, shop.settings, table, zone, shop.now())
    if out is not None:
        _write(found, out)
    if json:
        about = {
            "zone": zone,
            "model_version": champion.version,
            "classes": found.classes,
            "notes": found.notes,
        }
        print_json(
            {**about, "n_to_order": found.n_to_order, "items": [asdict(row) for row in found.rows]}
        )
        return
    columns = (
        "item",
        "class",
        "on hand",
        "on order",
        "days of cover",
        "reorder point",
        "safety stock",
        "order",
    )
    shown = ("on_hand", "on_order", "days_of_cover", "reorder_point", "safety_stock", "order")
    rows = [
        (row.item_id, row.abc + row.xyz, *(_whole(getattr(row, name)) for name in shown))
        for row in found.rows[:_SHOWN]
    ]
    print_table(
        f"inventory of zone {zone}, first {len(rows)} of {len(found.rows):,} items", columns, rows
    )
    slow = sum(row.slow_mover for row in found.rows)
    classes = ", ".join(f"{name} {count:,}" for name, count in found.classes.items())
    print_line(f"{found.n_to_order:,} items to order, {slow:,} slow movers; classes: {classes}")
    for note in found.notes:
        print_line(f"Note: {note}")
    if out is not None:
        print_line(f"{len(found.rows):,} rows in {out}")


def _write(found: Inventory, out: Path) -> None:
    import csv

    from serving.inventory.service import InventoryRow

    names = [each.name for each in fields(InventoryRow)]
    with replacing(out) as staging, staging.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["zone", *names])
        writer.writeheader()
        writer.writerows({"zone": found.zone, **asdict(row)} for row in found.rows)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
