"""`shopwright forecasts export`: the served forecasts as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import Unavailable
from serving.cli.models import no_champion
from serving.cli.output import JsonOption, print_json, print_line, replacing
from serving.cli.shop import Shop

app = typer.Typer(help="Demand forecasts", no_args_is_help=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    horizon: Annotated[int, typer.Option(min=1, help="Weeks ahead")] = 4,
    json: JsonOption = False,
) -> None:
    """Write unique_id, zone, ds (start of week), mean, p10, p50, p90, model_version; one row a series and week."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from models.demand.model import DemandModel

    shop = Shop()
    champion = shop.registry.champion("demand")
    if champion is None:
        raise Unavailable("no demand model is champion yet", hint=no_champion("demand"))
    forecasts = DemandModel.load(shop.registry.fetch(champion)).forecasts
    weeks = sorted(set(forecasts["ds"].to_pylist()))[:horizon]
    rows = forecasts.filter(pc.is_in(forecasts["ds"], pa.array(weeks, forecasts.schema.field("ds").type)))
    columns = ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90"]
    rows = rows.select(columns).append_column("model_version", pa.array([champion.version] * rows.num_rows))
    with replacing(out) as staging:
        pq.write_table(rows, staging)
    if json:
        print_json({"rows": rows.num_rows, "weeks": len(weeks), "file": str(out), "model_version": champion.version})
    else:
        print_line(f"{rows.num_rows:,} rows for {len(weeks)} weeks in {out}")
