"""`shopwright forecasts export`: the served forecasts as a file."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput, NotFound, Unavailable, UnknownName
from serving.cli.output import JsonOption, print_json, print_line, replacing
from serving.cli.shop import Shop

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.forecasts.service import Freq

_COLUMNS = ["unique_id", "zone", "ds", "mean", "p10", "p50", "p90"]
app = typer.Typer(help="Demand forecasts", no_args_is_help=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="Weeks ahead, or days with --freq D  [default: four weeks]"),
    ] = None,
    level: Annotated[
        str, typer.Option(help="item, category, department or total: sums that agree with items")
    ] = "item",
    freq: Annotated[
        str, typer.Option(help="W: weeks. D: days, of the series that sell on most days")
    ] = "W",
    total: Annotated[
        bool, typer.Option("--total", help="All weeks together, one row a series")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write unique_id, zone, ds (start of week or day), mean, p10, p50, p90, model_version; one row
    a series and ds. Items that are off sale are left out.

    Above the items unique_id is the category's path, "total" for the zone. Sums have quantiles of
    their own.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from models.demand.reconcile import ITEM
    from serving.forecasts.service import Freq

    _check_options(level, freq, total=total)
    shop = Shop()
    champion = shop.champion("demand")
    folder = shop.registry.fetch_files(champion)
    rows, n_periods = _read_forecasts(folder, Freq(freq), horizon, shop.now())
    rows = _drop_off_sale(rows, shop)
    if level != ITEM or total:
        items = shop.facts.read("items").select("item_id", "category").to_pyarrow()
        rows = _sum_forecasts(folder, rows, items, level, total)
    rows = rows.select(_COLUMNS).append_column(
        "model_version", pa.array([champion.version] * rows.num_rows)
    )
    with replacing(out) as staging:
        pq.write_table(rows, staging)
    periods = f"{Freq(freq).noun}s"
    if json:
        document = {
            "rows": rows.num_rows,
            periods: n_periods,
            "file": str(out),
            "model_version": champion.version,
        }
        print_json(document)
    else:
        print_line(
            f"{rows.num_rows:,} rows for {n_periods} {periods} in {out}, "
            f"by demand {champion.version}"
        )


def _check_options(level: str, freq: str, *, total: bool) -> None:
    from models.demand.reconcile import ITEM, LEVELS
    from serving.forecasts.service import Freq

    if level not in (ITEM, *LEVELS):
        raise UnknownName(level, (ITEM, *LEVELS), kind="level", where="--level")
    if freq not in tuple(Freq):
        raise UnknownName(freq, Freq, kind="frequency", where="--freq")
    if freq == Freq.DAY and (level != ITEM or total):
        raise BadInput(
            "sums are by week", where="--level, --total", hint="Leave --freq D out, or these"
        )


def _drop_off_sale(rows: pa.Table, shop: Shop) -> pa.Table:
    """Return the rows without items that are off sale now."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from features.facts.off_sale import find_off_sale

    off_sale = pa.array(sorted(find_off_sale(shop.settings, shop.now())), pa.string())
    return rows.filter(pc.invert(pc.is_in(rows["unique_id"], value_set=off_sale)))


def _read_forecasts(
    folder: Path, freq: Freq, horizon: int | None, now: datetime
) -> tuple[pa.Table, int]:
    """Return the rows of the horizon, from the period of `now` on, and the number of periods."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from models.demand.lookup import read_daily, read_weekly
    from serving.forecasts.service import Freq, horizon_error

    rows = read_daily(folder) if freq is Freq.DAY else read_weekly(folder)
    if rows is None or (freq is Freq.DAY and not rows.num_rows):
        raise NotFound(
            "no item sells on enough days for daily forecasts",
            where="--freq",
            hint="Leave --freq out",
        )
    before = now - timedelta(weeks=1) / freq.per_week
    starts = sorted(start for start in set(rows["ds"].to_pylist()) if start > before)
    if not starts or (horizon is not None and horizon > len(starts)):
        raise horizon_error(horizon or freq.usual_horizon, len(starts), freq, where="--horizon")
    periods = starts[: horizon or freq.usual_horizon]
    rows = rows.filter(pc.is_in(rows["ds"], pa.array(periods, rows.schema.field("ds").type)))
    return rows, len(periods)


def _sum_forecasts(
    folder: Path, rows: pa.Table, items: pa.Table, level: str, total: bool
) -> pa.Table:
    """Return the rows of items summed to a level; with `total`, one row per series."""
    from models.demand.uncertainty.aggregate_rows import aggregate_forecasts
    from models.demand.uncertainty.aggregates import AggregateDistributions

    distributions = AggregateDistributions.load(folder)
    if distributions is None:
        raise Unavailable(
            "the demand model is of an earlier release and has no sums", hint="Train demand again"
        )
    return aggregate_forecasts(rows, items, level, distributions, over_weeks=total)
