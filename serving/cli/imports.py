"""`shopwright import DIR | --demo-data`: load tables; idempotent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput
from serving.cli.output import JsonOption, Steps, print_json, print_line, print_table, steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.sources.report import ImportReport
    from serving.prices.opening import OpeningReport


def import_tables(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with NAME.parquet, NAME.csv or NAME/*.parquet")
    ] = None,
    demo_data: Annotated[
        bool, typer.Option("--demo-data", help="The Complete Journey, one year of a grocer")
    ] = False,
    max_bad_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail above this share of bad rows")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Load tables. Bad rows are quarantined with their reason; a second import of the same rows
    changes nothing."""
    if (folder is None) == (not demo_data):
        raise BadInput(
            "name a folder or --demo-data, one of the two",
            hint="Try: shopwright import --demo-data",
        )
    shop = Shop()
    if max_bad_share is not None:
        shop.settings = shop.settings.model_copy(update={"max_bad_share": max_bad_share})
    with steps(1) as progress:
        report = (
            import_demo_data(shop, progress)
            if folder is None
            else _import_folder(shop, folder, progress)
        )
        progress.say("bringing the shop's prices into the ledger")
        opening = _open_ledger(shop)
        if "price_history" in report.tables:
            unlawful = _count_unlawful_imports(shop)
            report.tables["price_history"].n_unlawful_reductions = unlawful
        progress.done()
    if json:
        entered = {"imported": opening.imported, "catalogue": opening.catalogue}
        print_json({**report.as_dict(), "prices_entered": entered})
        return
    print_report(report)
    if opening.total:
        print_line(
            f"ledger: {opening.imported:,} prices of price_history, "
            f"{opening.catalogue:,} of the catalogue entered"
        )


def import_demo_data(shop: Shop, progress: Steps) -> ImportReport:
    """Import the Complete Journey, and store its time zone, currency, country and clock in the
    state folder."""
    from features.sources import complete_journey as source

    if shop.facts.is_empty("events") and shop.settings.timezone != source.TIMEZONE:
        shop.settings.remember(
            timezone=source.TIMEZONE,
            currency=source.CURRENCY,
            country=source.COUNTRY,
            clock_start=source.DEMO_CLOCK_START.isoformat(),
        )
        shop.__init__()  # type: ignore[misc]
    return source.import_complete_journey(shop.facts, shop.settings, progress=progress.say)


def _import_folder(shop: Shop, folder: Path, progress: Steps) -> ImportReport:
    from features.sources.folder import import_folder

    return import_folder(folder, shop.facts, shop.settings, now=shop.now(), progress=progress.say)


def _open_ledger(shop: Shop) -> OpeningReport:
    """Append the prices of the price list and the catalogue, which are served from now on.

    Prices derived from sales are appended when prices are suggested.
    """
    from serving.prices.opening import open_ledger

    return open_ledger(
        shop.facts,
        shop.engine,
        shop.settings,
        shop.clock,
        shop.system_clock,
        observe=False,
    )


def _count_unlawful_imports(shop: Shop) -> int:
    """Count the announced reductions of the price list that the price law does not allow."""
    from features.database import reading
    from features.facts.item_rules import ItemRules
    from features.prices.law import count_unlawful_imports
    from features.prices.ledger import Ledger

    with reading(shop.engine) as connection:
        return count_unlawful_imports(Ledger(connection), ItemRules(shop.settings, shop.clock))


def print_report(report: ImportReport) -> None:
    """Print rows per table, then what was left out and why."""
    rows = [
        (
            name,
            table.rows_read,
            table.written.new,
            table.written.replaced,
            table.written.unchanged,
            table.excluded.total(),
            table.n_bad,
        )
        for name, table in report.tables.items()
    ]
    columns = ("table", "read", "new", "replaced", "unchanged", "excluded", "quarantined")
    print_table(f"Imported {report.source}", columns, rows)
    for name, table in report.tables.items():
        for rule, count in table.excluded.items():
            print_line(f"{name}: {count:,} excluded, {rule}")
        for reason, count in table.quarantined.items():
            print_line(f"{name}: {count:,} quarantined, {reason}")
        if table.quarantine_file:
            print_line(f"{name}: quarantined rows are in {table.quarantine_file}")
        if table.n_unlawful_reductions:
            print_line(
                f"{name}: {table.n_unlawful_reductions:,} announced reductions are unlawful: the "
                "offer price is not below the prior price, or no price before is known. "
                "They are kept as history"
            )
