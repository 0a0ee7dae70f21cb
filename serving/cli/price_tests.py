"""`shopwright prices tests`: price tests for items of which too little is known to suggest a price."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing, steps
from serving.cli.prices import check_zone, pricing_inputs
from serving.cli.shop import Shop

_SHOWN = 10
_COLUMNS = ("item_id", "zone", "evidence_grade", "price", "lower", "higher", "weeks", "error_now", "error_after")


def tests(
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    out: Annotated[Path | None, typer.Option(help="CSV file for all of them")] = None,
    json: JsonOption = False,
) -> None:
    """Propose tests for items whose evidence grade is too low for a suggestion: two prices in turn, for some weeks."""
    from models.pricing.price_tests import propose_tests
    from serving.store.pricing_items import priced_zone

    shop = Shop()
    check_zone(shop, zone)
    with steps(1) as progress:
        inputs = pricing_inputs(shop, progress)
        priced = priced_zone(inputs, zone)
        found = propose_tests(priced.items, inputs.rules)
        progress.done()
    rows = [
        (
            each.item_id,
            each.zone,
            str(each.evidence_grade),
            *(
                to_major(price, each.currency)
                for price in (each.current_price_minor, each.lower_price_minor, each.higher_price_minor)
            ),
            each.weeks,
            round(each.error_now, 3),
            round(each.error_after, 3),
        )
        for each in found
    ]
    if out is not None:
        with replacing(out) as staging, staging.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
    if json:
        print_json({"items": [asdict(each) for each in found]})
        return
    title = f"Price tests, zone {zone}: {len(found):,} of {len(priced.items):,} items; the fastest sellers"
    print_table(title, _COLUMNS, rows[:_SHOWN])
    if out is not None:
        print_line(f"{len(rows):,} tests in {out}")
