"""`shopwright simulate --out FOLDER`: a shop with known demand, as tables to import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.errors import BadInput
from serving.cli.file_modes import share_output
from serving.cli.output import JsonOption, print_json, print_line


def simulate(
    out: Annotated[
        Path, typer.Option(help="Folder for the tables and truth.json; made if it is missing")
    ],
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same shop")] = 0,
    form: Annotated[str, typer.Option(help="Form of demand: loglinear or choice")] = "loglinear",
    world: Annotated[
        str, typer.Option(help="Which difficulties: standard, real or varied")
    ] = "standard",
    confounded: Annotated[
        bool, typer.Option(help="Promotions fall into weeks of high demand; else into any week")
    ] = True,
    weeks: Annotated[int, typer.Option(min=8, help="Weeks of history")] = 104,
    families: Annotated[
        int, typer.Option(min=1, help="Families of four items in each of six categories")
    ] = 4,
    shoppers: Annotated[int, typer.Option(min=1, help="How many people buy")] = 1500,
    clicks: Annotated[bool, typer.Option(help="Views and carts beside the purchases")] = True,
    costs: Annotated[bool, typer.Option(help="The costs; else no table has any")] = True,
    json: JsonOption = False,
) -> None:
    """Write a simulated shop: events, items, users, prices, promotions, costs, stock; and its true
    demand in a file of its own."""
    from experiments.simulator.shop import simulate_shop
    from experiments.simulator.tables import TRUTH, end_of_history, write_shop
    from experiments.simulator.worlds import build_parameters
    from features.contracts.seeds import generator

    if form not in ("loglinear", "choice"):
        raise BadInput(
            f"no form of demand is called {form!r}",
            where="--form",
            hint="One of: loglinear, choice",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(
            "the folder is not empty", where=str(out), hint="Name a new or an empty folder"
        )
    parameters = replace(
        build_parameters(world, form, seed),  # type: ignore[arg-type]
        confounded=confounded,
        n_weeks=weeks,
        n_families=families,
        n_shoppers=shoppers,
    )
    shop = simulate_shop(parameters, generator(seed, "simulated shop"))
    rows = write_shop(out, shop, generator(seed, "simulated shoppers"), clicks=clicks, costs=costs)
    share_output(out)
    now = f"{end_of_history(shop):%Y-%m-%dT%H:%MZ}"
    if json:
        print_json(
            {"folder": str(out), "rows": rows, "truth": str(out / TRUTH), "clock_start": now}
        )
        return
    for name, count in rows.items():
        print_line(f"{name}: {count:,} rows")
    print_line(f"its true demand: {out / TRUTH}")
    print_line(f"Try: SHOPWRIGHT_CLOCK_START={now} shopwright import {out}")
