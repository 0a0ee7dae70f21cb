"""`shopwright prices queue|changes|labels`: suggestions, changes and shelf labels as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import UnknownName
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, replacing
from serving.cli.shop import Shop

OutOption = Annotated[Path, typer.Option(help="File to write, .csv or .xlsx")]
ZoneOption = Annotated[str | None, typer.Option(help="One zone; all if unset")]


def queue(
    out: OutOption,
    status: Annotated[
        list[str] | None, typer.Option(help="Only of this status; may be repeated")
    ] = None,
    category: Annotated[str | None, typer.Option(help="Only this one and all below it")] = None,
    zone: ZoneOption = None,
    run: Annotated[str | None, typer.Option(help="Only those of a run of `suggest`")] = None,
    json: JsonOption = False,
) -> None:
    """Write suggestions with costs, margins, effects, reasons and names, for a spreadsheet."""
    from features.prices.reduction_rule import PLAIN_RULES
    from serving.database.desk_tables import SUGGESTION_STATUSES
    from serving.price_desk.filters import SuggestionFilter
    from serving.price_desk.service import PriceDeskService
    from serving.spreadsheets import parse_format

    for name in status or ():
        if name not in SUGGESTION_STATUSES:
            raise UnknownName(name, SUGGESTION_STATUSES, kind="status", where="--status")
    sheet_format, shop = parse_format(out), Shop()
    criteria = SuggestionFilter(
        status=tuple(status or ()), category=category, zone=zone, run_id=run
    )
    desk = PriceDeskService(shop.settings, shop.engine, shop.clock, shop.system_clock, PLAIN_RULES)
    with replacing(out) as staging:
        count = desk.write_suggestions(criteria, staging, sheet_format)
    _print_count(count, "suggestions", out, json)


def changes(
    out: OutOption,
    after: Annotated[int, typer.Option(min=0, help="Only changes after this number")] = 0,
    zone: ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Write the price ledger with titles, reasons and names, for a spreadsheet; `export` writes
    what `shopwright import` reads."""
    from features.prices.reduction_rule import PLAIN_RULES
    from serving.prices.service import PriceService
    from serving.spreadsheets import parse_format

    sheet_format, shop = parse_format(out), Shop()
    prices = PriceService(shop.settings, shop.engine, shop.clock, PLAIN_RULES)
    with replacing(out) as staging:
        count = prices.write_changes(staging, sheet_format, after=after, zone=zone)
    _print_count(count, "price changes", out, json)


def labels(
    out: OutOption,
    since: Annotated[str, typer.Option("--from", help="Business time, like 2018-01-01T00:00Z")],
    until: Annotated[str, typer.Option("--to", help="Business time, not included")],
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Write a shelf label for every price that changes in a span of time."""
    from features.facts.item_rules import ItemRules
    from serving.prices.labels import LabelSpan
    from serving.prices.service import PriceService
    from serving.spreadsheets import parse_format

    sheet_format, shop = parse_format(out), Shop()
    span = LabelSpan(zone, parse_time(since, where="--from"), parse_time(until, where="--to"))
    rules = ItemRules(shop.settings, shop.clock, shop.engine)
    prices = PriceService(shop.settings, shop.engine, shop.clock, rules)
    with replacing(out) as staging:
        count = prices.write_labels(span, staging, sheet_format)
    _print_count(count, "labels", out, json)


def _print_count(count: int, what: str, out: Path, as_json: bool) -> None:
    if as_json:
        print_json({"rows": count, "file": str(out)})
    else:
        print_line(f"{count:,} {what} in {out}")
