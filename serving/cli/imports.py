"""`shopwright import DIR | --demo-data`: load tables; idempotent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.errors import BadInput
from serving.cli.import_report import describe_opening, print_opening, print_report
from serving.cli.output import JsonOption, Steps, print_json, steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from features.facts.facts import Facts
    from features.sources.report import ImportReport, TableReport
    from serving.prices.opening import OpeningOptions, OpeningReport

# Prices that wait of one transaction: a tenth of a second on SQLite, so that events go on.
_HELD_PART = 500
_NAMED_ITEMS = 5


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
    max_unknown_items: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Fail above this share of events of unknown items"),
    ] = None,
    accept_price_jumps: Annotated[
        bool,
        typer.Option(
            "--accept-price-jumps", help="Enter prices that wait: a jump of more than half is meant"
        ),
    ] = False,
    accept_unlawful_reductions: Annotated[
        bool,
        typer.Option(
            "--accept-unlawful-reductions",
            help="Enter announced reductions that wait because the price law forbids them",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Load tables. Bad rows are quarantined with their reason; a second import of the same rows
    changes nothing."""
    if (folder is None) == (not demo_data):
        raise BadInput(
            "name a folder or --demo-data, one of the two",
            hint="Try: shopwright import --demo-data",
        )
    from features.facts.consents import take_over_imported_consents
    from features.facts.erased_ids import IdDigests
    from serving.prices.opening import OpeningOptions

    shop = Shop()
    limits = {"max_bad_share": max_bad_share, "max_unknown_items": max_unknown_items}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    shop.settings = shop.settings.model_copy(update=given)
    shop.check_currencies()
    with steps(1) as progress:
        options = OpeningOptions(
            observe=False,
            accept_jumps=accept_price_jumps,
            accept_unlawful=accept_unlawful_reductions,
        )
        ledger = _LedgerOpening(shop, progress, options)
        report = (
            import_demo_data(shop, progress, ledger)
            if folder is None
            else _import_folder(shop, folder, progress, ledger)
        )
        opening = ledger.report
        _file_held_prices(shop, opening)
        if "users" in report.tables:
            take_over_imported_consents(shop.facts, shop.engine, IdDigests(shop.settings))
        if "price_history" in report.tables:
            unlawful = _count_unlawful_imports(shop)
            report.tables["price_history"].n_unlawful_reductions = unlawful
            _find_overlaps(shop, report.tables["price_history"])
        progress.done()
    if json:
        entered = {"imported": opening.imported, "catalogue": opening.catalogue}
        print_json({**report.as_dict(), "prices_entered": entered, **describe_opening(opening)})
        return
    print_report(report)
    print_opening(opening)


class _LedgerOpening:
    """Brings the shop's prices into the ledger before its tables are published.

    So the tables never hold a price that the ledger refused.
    """

    def __init__(self, shop: Shop, progress: Steps, options: OpeningOptions) -> None:
        self._shop = shop
        self._progress = progress
        self._options = options
        self.report: OpeningReport

    def __call__(self, facts: Facts) -> None:
        """Append the prices of the price list and the catalogue, which are served from now on.

        Prices derived from sales are appended when prices are suggested.
        """
        from serving.prices.opening import open_ledger

        self._progress.say("bringing the shop's prices into the ledger")
        shop = self._shop
        self.report = open_ledger(
            facts,
            shop.engine,
            shop.settings,
            shop.clock,
            shop.system_clock,
            self._options,
        )


def import_demo_data(
    shop: Shop, progress: Steps, ledger: _LedgerOpening | None = None
) -> ImportReport:
    """Import the Complete Journey, and store its time zone, currency, country and clock in the
    state folder."""
    from features.facts.facts import Facts
    from features.sources import complete_journey as source

    if shop.facts.is_empty("events") and shop.settings.timezone != source.TIMEZONE:
        shop.settings.remember(
            timezone=source.TIMEZONE,
            currency=source.CURRENCY,
            country=source.COUNTRY,
            clock_start=source.DEMO_CLOCK_START.isoformat(),
        )
        shop.__init__()  # type: ignore[misc]
    facts = Facts(shop.settings, before_publish=ledger)
    return source.import_complete_journey(facts, shop.settings, progress=progress.say)


def _import_folder(
    shop: Shop, folder: Path, progress: Steps, ledger: _LedgerOpening
) -> ImportReport:
    from features.facts.facts import Facts
    from features.sources.folder import import_folder

    facts = Facts(shop.settings, before_publish=ledger)
    return import_folder(folder, facts, shop.settings, now=shop.now(), progress=progress.say)


def _file_held_prices(shop: Shop, opening: OpeningReport) -> None:
    """File the prices that wait on the price desk, each once; those settled since leave it."""
    from features.database import give_way, transaction
    from serving.price_desk.held_imports import file_held_prices, supersede_settled_prices

    now, at = shop.now(), shop.system_clock.now()
    with transaction(shop.engine) as connection:
        supersede_settled_prices(connection, opening.held, now=now, at=at)
    if not opening.held:
        return
    items = shop.facts.read("items").select("item_id", "title", "category")
    wanted = items.filter(items.item_id.isin([held.price.item_id for held in opening.held]))
    rows = wanted.to_pyarrow().to_pylist()
    names = {row["item_id"]: (row["title"], row["category"] or "") for row in rows}
    for start in range(0, len(opening.held), _HELD_PART):
        if start:
            give_way(shop.engine)
        part = opening.held[start : start + _HELD_PART]
        with transaction(shop.engine) as connection:
            file_held_prices(connection, part, names, now=now, at=at)


def _find_overlaps(shop: Shop, table: TableReport) -> None:
    """Put into the report which regular prices of the price list overlap."""
    from features.pipelines.pricing import overlapping_prices

    rows = overlapping_prices(shop.facts.read_imported("price_history")).to_pyarrow()
    table.n_overlapping = len(rows)
    table.overlapping = sorted(set(rows["item_id"].to_pylist()))[:_NAMED_ITEMS]


def _count_unlawful_imports(shop: Shop) -> int:
    """Count the announced reductions of the price list that the price law does not allow."""
    from features.database import reading
    from features.facts.item_rules import ItemRules
    from features.prices.law import count_unlawful_imports
    from features.prices.ledger import Ledger

    with reading(shop.engine) as connection:
        return count_unlawful_imports(
            Ledger(connection), ItemRules(shop.settings, shop.clock, shop.engine)
        )
