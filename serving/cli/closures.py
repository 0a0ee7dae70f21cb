"""`shopwright closures`: closed times of zones, and those that look like one."""

from __future__ import annotations

import csv
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.facts.closed_days import Closure

_COLUMNS = ("zone", "starts_at", "ends_at")


def closures(
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the proposed ones, to be imported")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the imported closures, and times in which a whole zone sold nothing though it usually
    does."""
    from features.facts.closed_days import read_closures
    from training.demand.closures import goes_on, propose_closures
    from training.splits import span_of_sales

    shop = Shop()
    known = read_closures(shop.facts)
    span = span_of_sales(shop.facts, shop.now(), shop.settings)
    proposed = propose_closures(shop.facts, shop.settings, span)
    if out is not None:
        _write_csv(proposed, out)
    if json:
        document = {
            "closures": [_to_row(closure) for closure in known],
            "proposed": [_to_row(closure) for closure in proposed],
        }
        print_json(document)
        return
    for title, listed in (("closures", known), ("proposed, not yet closures", proposed)):
        rows = [tuple(_to_row(closure).values()) for closure in listed]
        print_table(title, _COLUMNS, rows)
        print_line()
    if out is not None:
        print_line(
            f"{len(proposed)} proposed closures in {out}: take out what was no closure, then "
            f"`shopwright import {out.parent}`"
        )
    for closure in proposed:
        if goes_on(closure, span):
            print_line(
                f"Zone {closure.zone} sells nothing now. Set ends_at to the day on which it opens: "
                f"from {closure.ends_at:%Y-%m-%d} on it is forecast to sell as usual"
            )


def _to_row(closure: Closure) -> dict[str, str]:
    times = (closure.starts_at.astimezone(UTC), closure.ends_at.astimezone(UTC))
    return dict(
        zip(_COLUMNS, (closure.zone, *(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times)), strict=True)
    )


def _write_csv(proposed: list[Closure], out: Path) -> None:
    with replacing(out) as staging, staging.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_to_row(closure) for closure in proposed)
