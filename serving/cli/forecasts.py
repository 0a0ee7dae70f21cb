"""`shopwright forecasts export`: the served forecasts as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import Unavailable, UnknownName
from serving.cli.models import no_champion
from serving.cli.output import JsonOption, print_json, print_line, replacing
from serving.cli.shop import Shop

app = typer.Typer(help="Demand forecasts", no_args_is_help=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    horizon: Annotated[int, typer.Option(min=1, help="Weeks ahead")] = 4,
    level: Annotated[
        str, typer.Option(help="item, category, department or total: sums that agree with items")
    ] = "item",
    json: JsonOption = False,
) -> None:
    """Write unique_id, zone, ds (start of week), mean, p10, p50, p90, model_version; one row a series and week.

    Above the items unique_id is the category's path, "total" for the zone, and there is a mean only.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from models.demand.hierarchy import ITEM, LEVELS, level_table
    from models.demand.model import DemandModel

    if level not in (ITEM, *LEVELS):
        raise UnknownName(level, (ITEM, *LEVELS), kind="level", where="--level")
    shop = Shop()
    champion = shop.registry.champion("demand")
    if champion is None:
        raise Unavailable("no demand model is champion yet", hint=no_champion("demand"))
    forecasts = DemandModel.load(shop.registry.fetch(champion)).forecasts
    weeks = sorted(set(forecasts["ds"].to_pylist()))[:horizon]
    rows = forecasts.filter(pc.is_in(forecasts["ds"], pa.array(weeks, forecasts.schema.field("ds").type)))
    columns = ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90"]
    rows = rows.select(columns)
    if level != ITEM:
        items = shop.facts.read("items").select("item_id", "category").to_pyarrow()
        rows = level_table(rows, items, level)
    rows = rows.append_column("model_version", pa.array([champion.version] * rows.num_rows))
    with replacing(out) as staging:
        pq.write_table(rows, staging)
    if json:
        print_json({"rows": rows.num_rows, "weeks": len(weeks), "file": str(out), "model_version": champion.version})
    else:
        print_line(f"{rows.num_rows:,} rows for {len(weeks)} weeks in {out}")
