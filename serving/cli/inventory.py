"""`shopwright inventory`: the replenishment list."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.shop import Shop
from serving.spreadsheets import write_sheet

if TYPE_CHECKING:
    from serving.inventory.service import Inventory

_SHOWN = 20
_FIELDS = ("on_hand", "on_order", "days_of_cover", "reorder_point", "safety_stock", "order")


def inventory(
    zone: Annotated[str, typer.Option(help="Which zone")] = DEFAULT_ZONE,
    out: Annotated[Path | None, typer.Option(help="CSV file for the whole list")] = None,
    json: JsonOption = False,
) -> None:
    """List what to order, with reorder point, safety stock, days of cover, ABC and XYZ class, and
    slow movers."""
    from models.demand.lookup import load_forecasts
    from serving.inventory.service import plan_inventory

    shop = Shop()
    champion = shop.champion("demand")
    table = load_forecasts(shop.registry.fetch_files(champion))
    inventory = plan_inventory(shop.facts, shop.engine, shop.settings, table, zone, shop.now())
    if out is not None:
        _write_csv(inventory, out)
    if json:
        document = {
            "zone": zone,
            "model_version": champion.version,
            "classes": inventory.classes,
            "notes": inventory.notes,
            "n_to_order": inventory.n_to_order,
            "items": [asdict(row) for row in inventory.rows],
        }
        print_json(document)
        return
    _print_inventory(inventory, champion.version)
    if out is not None:
        print_line(f"{len(inventory.rows):,} rows in {out}")


def _print_inventory(inventory: Inventory, version: str) -> None:
    rows = [
        (row.item_id, row.abc + row.xyz, *(_round_units(getattr(row, name)) for name in _FIELDS))
        for row in inventory.rows[:_SHOWN]
    ]
    n_rows = len(inventory.rows)
    title = (
        f"inventory of zone {inventory.zone} by demand {version}, "
        f"first {len(rows)} of {n_rows:,} items"
    )
    columns = ("item", "class", *(name.replace("_", " ") for name in _FIELDS))
    print_table(title, columns, rows)
    n_slow = sum(row.slow_mover for row in inventory.rows)
    classes = ", ".join(f"{name} {count:,}" for name, count in inventory.classes.items())
    print_line(
        f"{inventory.n_to_order:,} items to order, {n_slow:,} slow movers; classes: {classes}"
    )
    for note in inventory.notes:
        print_line(f"Note: {note}")


def _write_csv(inventory: Inventory, out: Path) -> None:
    from serving.inventory.service import tabulate_rows

    with replacing(out) as staging:
        write_sheet(tabulate_rows(inventory.zone, inventory.rows), staging, "csv")


def _round_units(value: float | None) -> int | None:
    return None if value is None else round(value)
