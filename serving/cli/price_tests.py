"""`shopwright prices tests`: items whose price response is hardly known, and the tests of prices.

Planning, filing and finishing tests: `price_test_programme`.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput
from features.contracts.money import to_major
from features.contracts.pricing import PriceTestDesign
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
    replacing,
    steps,
)
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.shop import Shop
from serving.spreadsheets import Sheet, write_sheet

if TYPE_CHECKING:
    from models.pricing.price_tests import PriceTest, Proposals
    from serving.pricing_inputs.items import PricedZone

_SHOWN = 20
_CSV_COLUMNS = (
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
_COLUMNS = (
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


def tests(
    zone: Annotated[
        list[str] | None,
        typer.Option(help="Zone; of a switchback each of its zones", show_default=DEFAULT_ZONE),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for all of them")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="The tests that bring more than they cost")
    ] = False,
    design: Annotated[
        PriceTestDesign, typer.Option(help="With --plan: how chance gives the prices")
    ] = PriceTestDesign.CROSSOVER,
    category: Annotated[
        list[str] | None, typer.Option(help="With --plan: what it is about, with all below it")
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option(help="With --plan: what it is about, with its family")
    ] = None,
    periods: Annotated[
        int | None, typer.Option(help="With --plan, not of a crossover: number of periods")
    ] = None,
    period_weeks: Annotated[int | None, typer.Option(help="... and weeks of each")] = None,
    burn_in: Annotated[
        int | None, typer.Option(help="... of which the first are left out of the analysis")
    ] = None,
    max_items: Annotated[int, typer.Option(min=2, help="With --plan: items under test")] = 40,
    weeks: Annotated[
        int, typer.Option(min=4, help="With --plan: weeks in which better prices count")
    ] = 52,
    save: Annotated[bool, typer.Option("--save", help="With --plan: keep the plan")] = False,
    file: Annotated[
        str | None, typer.Option(help="Test whose next prices are filed on the price desk")
    ] = None,
    finish: Annotated[
        str | None, typer.Option(help="Test that is over: analyse it and keep its result")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(help="Test to end now: its earlier prices are filed")
    ] = None,
    list_tests: Annotated[bool, typer.Option("--list", help="All tests and their state")] = False,
    json: JsonOption = False,
) -> None:
    """Propose tests for items whose evidence grade is too low for a suggestion: two prices that
    alternate for some weeks. Plan, file, finish and cancel tests."""
    from serving.cli import price_test_programme as programme
    from serving.price_desk.price_test_plans import PlanOrder

    zones = tuple(zone or [DEFAULT_ZONE])
    named = [test is not None for test in (file, finish, cancel)]
    if sum((plan, list_tests, *named)) > 1:
        raise BadInput("give one of --plan, --file, --finish, --cancel and --list")
    if plan:
        order = PlanOrder(
            design=design,
            zones=zones,
            categories=tuple(category or ()),
            item_ids=tuple(item or ()),
            max_items=max_items,
            weeks=weeks,
            n_periods=periods,
            period_weeks=period_weeks,
            burn_in_weeks=burn_in,
            save=save,
        )
        programme.plan(order, json=json)
    elif file is not None:
        programme.file(file, json=json)
    elif finish is not None:
        programme.finish(finish, json=json)
    elif cancel is not None:
        programme.cancel(cancel, json=json)
    elif list_tests:
        programme.list_tests(json=json)
    elif len(zones) > 1:
        raise BadInput("tests of single items are proposed for one zone", where="--zone")
    else:
        _propose(zones[0], out, json=json)


def _propose(zone: str, out: Path | None, *, json: bool) -> None:
    """Propose a test for every item with too little evidence."""
    from models.pricing.price_tests import propose_tests
    from serving.pricing_inputs.items import read_priced_zone

    shop = Shop()
    check_zone(shop, zone)
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        priced = read_priced_zone(inputs, zone)
        proposals = propose_tests(priced.items, inputs.rules)
        progress.done()
    if out is not None:
        with replacing(out) as staging:
            write_sheet(Sheet(_CSV_COLUMNS, map(_csv_row, proposals.tests)), staging, "csv")
    if json:
        print_json(_proposals_document(proposals))
        return
    _print_tests(proposals, priced)
    if out is not None:
        print_line(f"{len(proposals.tests):,} tests in {out}")


def _print_tests(proposals: Proposals, priced: PricedZone) -> None:
    """Print the tests of the fastest sellers, and how many items need none or cannot be tested."""
    rows = [
        (
            test.item_id,
            (priced.terms[test.item_id].title or "")[:32],
            str(test.evidence_grade),
            *_prices(test),
            test.weeks,
            "unknown" if math.isnan(test.error_now) else f"{test.error_now:.2f}",
            f"{test.error_after:.2f}",
        )
        for test in proposals.tests[:_SHOWN]
    ]
    n_tests = len(proposals.tests)
    which = f"the {len(rows)} fastest sellers"
    if n_tests <= len(rows):
        which = "the fastest sellers first"
    title = f"Price tests, zone {priced.zone}: {n_tests:,} of {len(priced.items):,} items; {which}"
    print_table(title, _COLUMNS, rows)
    print_line(
        f"{proposals.n_known:,} items need none to be priced, by their evidence grade. Where "
        "`prices suggest` keeps a price because the evidence does not say which other one would "
        "gain, --plan says which tests are worth their cost"
    )
    if proposals.untestable:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in proposals.reasons.items())
        print_line(f"{len(proposals.untestable):,} items cannot be tested: {reasons}")


def _proposals_document(proposals: Proposals) -> dict[str, object]:
    """Return the proposals as JSON values; `error_now` is null where nothing is known."""
    return {
        "items": [
            asdict(test) | {"error_now": _none_for_nan(test.error_now)} for test in proposals.tests
        ],
        "untestable": [asdict(item) for item in proposals.untestable],
        "reasons": proposals.reasons,
        "n_known": proposals.n_known,
    }


def _csv_row(test: PriceTest) -> tuple[str | float | None, ...]:
    """Return a test as a row of the CSV file, money in major units."""
    error_now = _none_for_nan(test.error_now)
    return (
        test.item_id,
        test.zone,
        str(test.evidence_grade),
        *_prices(test),
        test.weeks,
        None if error_now is None else round(error_now, 3),
        round(test.error_after, 3),
    )


def _prices(test: PriceTest) -> tuple[str, ...]:
    prices = (test.current_price_minor, test.lower_price_minor, test.higher_price_minor)
    return tuple(to_major(price, test.currency) for price in prices)


def _none_for_nan(error: float) -> float | None:
    return None if math.isnan(error) else error
