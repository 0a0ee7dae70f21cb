"""`shopwright prices suggest|export`: prices to approve, and prices in force."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.loading import load
from features.contracts.errors import BadInput, Unavailable
from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from models.registry import Version
from serving.cli.output import JsonOption, Steps, print_json, print_line, print_table, steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.services.suggest import SuggestReport

app = typer.Typer(help="Price suggestions and the price ledger", no_args_is_help=True)

ZoneOption = Annotated[str | None, typer.Option(help="One zone; all zones with prices if unset")]


@app.command()
def suggest(
    objective: Annotated[str | None, typer.Option(help="profit, revenue or units; as the rules say if unset")] = None,
    zone: ZoneOption = None,
    json: JsonOption = False,
) -> None:
    """Compute prices within the rules and file them for approval."""
    shop = Shop()
    with steps(1) as progress:
        reports = suggest_all(shop, progress, objective=objective, zone=zone)
        progress.done()
    if json:
        print_json({"items": [as_document(report) for report in reports]})
        return
    for report in reports:
        print_suggestions(report)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="CSV file to write, in the form of the table price_history")],
    json: JsonOption = False,
) -> None:
    """Write the whole ledger: every price that was, is or will be in force."""
    import pyarrow.csv as pa_csv

    from features.store.database import reading
    from features.store.ledger import Ledger

    shop = Shop()
    with reading(shop.engine) as connection:
        rows = Ledger(connection).as_arrow()
    staging = out.with_name(f".{out.name}.part")
    pa_csv.write_csv(rows, staging)
    staging.replace(out)
    if json:
        print_json({"rows": rows.num_rows, "file": str(out)})
    else:
        print_line(f"{rows.num_rows:,} prices in {out}")


def suggest_all(
    shop: Shop, progress: Steps, *, objective: str | None = None, zone: str | None = None
) -> list[SuggestReport]:
    """Opens the ledger where it lacks prices, then files suggestions for every zone."""
    from models.demand.model import DemandModel
    from models.pricing.elasticity import ElasticityModel
    from models.pricing.rules import PricingRules
    from serving.services.ledger_opening import open_ledger
    from serving.services.suggest import suggest_prices

    zones = list(shop.settings.zones) or [DEFAULT_ZONE]
    if zone is not None and zone not in zones:
        raise BadInput(f"no zone is called {zone!r}", hint=f"Zones of SHOPWRIGHT_ZONES: {', '.join(zones)}")
    demand_version, pricing_version = _champion(shop, "demand"), _champion(shop, "pricing")
    demand = DemandModel.load(shop.registry.fetch(demand_version))
    pricing = ElasticityModel.load(shop.registry.fetch(pricing_version))
    rules = load("pricing/default", PricingRules, overlay=shop.settings.config_dir)
    progress.say("opening the price ledger")
    open_ledger(shop.facts, shop.engine, shop.settings, shop.clock)
    reports = []
    for each in [zone] if zone else zones:
        progress.say(f"suggesting prices for zone {each}")
        versions = {"demand": demand_version.version, "pricing": pricing_version.version}
        reports.append(
            suggest_prices(
                shop.facts,
                shop.engine,
                shop.settings,
                demand,
                pricing,
                rules,
                shop.now(),
                objective,
                each,
                versions=versions,
            )
        )
    return reports


def print_suggestions(report: SuggestReport) -> None:
    """The suggestions with the largest expected gain, then what was kept and what was assumed."""
    rows = [
        (
            each.item_id,
            (each.title or "")[:32],
            to_major(each.current_price_minor, each.currency),
            to_major(each.suggested_price_minor, each.currency),
            f"{each.share_change:+.1%}",
            to_major(round(each.gain_minor or 0), each.currency),
            each.evidence_grade or "-",
            each.binding_rule or "none",
        )
        for each in report.largest
    ]
    title = (
        f"Price suggestions, zone {report.zone}: {report.n_suggested:,} filed of {report.n_items:,} items "
        f"({report.objective} over {report.horizon_weeks} weeks); the largest expected gains"
    )
    columns = ("item", "title", "now", "suggested", "change", f"gain {report.currency}", "grade", "binding rule")
    print_table(title, columns, rows)
    for reason, count in sorted(report.kept.items(), key=lambda each: -each[1]):
        print_line(f"{count:,} keep their price: {reason}")
    for note in report.notes:
        print_line(f"Note: {note}")


def as_document(report: SuggestReport) -> dict[str, Any]:
    """The report for machines."""
    return asdict(replace(report, kept=dict(report.kept)))


def _champion(shop: Shop, name: str) -> Version:
    champion = shop.registry.champion(name)
    if champion is None:
        raise Unavailable(f"no {name} model is champion yet", hint=f"Try: shopwright train {name}")
    return champion
