"""`shopwright prices tests`: price tests for items of which too little is known to suggest a
price."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, replacing, steps
from serving.cli.prices import check_zone, pricing_inputs
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from models.pricing.price_tests import PriceTest, Proposals
    from serving.pricing_inputs.items import PricedZone

_SHOWN = 20
_COLUMNS = (
    "item_id",
    "zone",
    "evidence_grade",
    "price",
    "lower",
    "higher",
    "weeks",
    "error_now",
    "error_after",
)


def tests(
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    out: Annotated[Path | None, typer.Option(help="CSV file for all of them")] = None,
    json: JsonOption = False,
) -> None:
    """Propose tests for items whose evidence grade is too low for a suggestion: two prices in turn,
    for some weeks."""
    from models.pricing.price_tests import propose_tests
    from serving.pricing_inputs.items import priced_zone

    shop = Shop()
    check_zone(shop, zone)
    with steps(1) as progress:
        inputs = pricing_inputs(shop, progress)
        priced = priced_zone(inputs, zone)
        found = propose_tests(priced.items, inputs.rules)
        progress.done()
    if out is not None:
        rows = [tuple(_cells(each).values()) for each in found.tests]
        with replacing(out) as staging, staging.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
    if json:
        print_json(as_document(found))
        return
    print_tests(found, priced)
    if out is not None:
        print_line(f"{len(found.tests):,} tests in {out}")


def print_tests(found: Proposals, priced: PricedZone) -> None:
    """The tests of the fastest sellers, then how many items need none, and how many cannot be
    tested and why."""
    rows = []
    for each in found.tests[:_SHOWN]:
        cells = _cells(each)
        title = (priced.terms[each.item_id].title or "")[:32]
        prices = (cells["price"], cells["lower"], cells["higher"])
        now = "unknown" if cells["error_now"] is None else f"{each.error_now:.2f}"
        rows.append(
            (
                each.item_id,
                title,
                cells["evidence_grade"],
                *prices,
                each.weeks,
                now,
                f"{each.error_after:.2f}",
            )
        )
    many = len(found.tests)
    which = f"the {len(rows)} fastest sellers" if many > len(rows) else "the fastest sellers first"
    columns = (
        "item",
        "title",
        "grade",
        "now",
        "lower",
        "higher",
        "weeks",
        "error now",
        "error after",
    )
    print_table(
        f"Price tests, zone {priced.zone}: {many:,} of {len(priced.items):,} items; {which}",
        columns,
        rows,
    )
    print_line(f"{found.n_known:,} items need none: enough is known of them to suggest a price")
    if found.untestable:
        why = "; ".join(f"{count:,} {reason}" for reason, count in found.reasons.items())
        print_line(f"{len(found.untestable):,} items cannot be tested: {why}")


def as_document(found: Proposals) -> Mapping[str, Any]:
    """The proposals for machines; `error_now` is null where nothing is known."""
    return {
        "items": [asdict(each) | {"error_now": _known(each.error_now)} for each in found.tests],
        "untestable": [asdict(each) for each in found.untestable],
        "reasons": found.reasons,
        "n_known": found.n_known,
    }


def _cells(test: PriceTest) -> dict[str, Any]:
    """The columns of a test in the CSV file, money in major units."""
    prices = (test.current_price_minor, test.lower_price_minor, test.higher_price_minor)
    now = _known(test.error_now)
    values = (
        test.item_id,
        test.zone,
        str(test.evidence_grade),
        *(to_major(price, test.currency) for price in prices),
        test.weeks,
        None if now is None else round(now, 3),
        round(test.error_after, 3),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _known(error: float) -> float | None:
    return None if math.isnan(error) else error
