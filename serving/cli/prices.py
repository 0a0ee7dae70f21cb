"""`shopwright prices suggest|export`: prices to approve, and prices in force."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.loading import load
from features.contracts.errors import BadInput, Unavailable
from features.contracts.money import to_major
from models.registry import Version
from serving.cli.models import no_champion
from serving.cli.output import JsonOption, Steps, print_json, print_line, print_table, replacing, steps
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.services.suggest import SuggestReport, ZonesReport

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
        found = suggest_all(shop, progress, objective=objective, zone=zone)
        progress.done()
    if json:
        skipped = [{"zone": each, "reason": reason} for each, reason in found.skipped.items()]
        print_json({"items": [as_document(report) for report in found.reports], "skipped": skipped})
        return
    for report in found.reports:
        print_suggestions(report)
    for each, reason in found.skipped.items():
        print_line(f"Zone {each} is skipped: {reason}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="CSV file to write, in the form of the table price_history")],
    json: JsonOption = False,
) -> None:
    """Write the whole ledger: every price that was, is or will be in force. `shopwright import` reads it again."""
    from features.store.database import reading
    from features.store.ledger import Ledger
    from features.store.price_list import price_list, write_price_list

    with replacing(out) as staging, reading(Shop().engine) as connection:
        n_rows = write_price_list(staging, price_list(Ledger(connection).everything()))
    if json:
        print_json({"rows": n_rows, "file": str(out)})
    else:
        print_line(f"{n_rows:,} prices in {out}")


def suggest_all(shop: Shop, progress: Steps, *, objective: str | None = None, zone: str | None = None) -> ZonesReport:
    """Opens the ledger where it lacks prices, then files suggestions for a zone, or for every zone that has prices."""
    from features.store.database import reading
    from features.store.ledger import Ledger
    from models.demand.model import DemandModel
    from models.pricing.elasticity import ElasticityModel
    from models.pricing.rules import PricingRules
    from serving.services.ledger_opening import open_ledger
    from serving.services.suggest import ZonesReport, suggest_everywhere, suggest_prices

    demand_version, pricing_version = _champion(shop, "demand"), _champion(shop, "pricing")
    demand = DemandModel.load(shop.registry.fetch(demand_version))
    pricing = ElasticityModel.load(shop.registry.fetch(pricing_version))
    rules = load("pricing/default", PricingRules, overlay=shop.settings.config_dir)
    versions = {"demand": demand_version.version, "pricing": pricing_version.version}
    progress.say("opening the price ledger")
    open_ledger(shop.facts, shop.engine, shop.settings, shop.clock)
    models = shop.facts, shop.engine, shop.settings, demand, pricing, rules, shop.now(), objective
    if zone is None:
        progress.say("suggesting prices for every zone")
        return suggest_everywhere(*models, versions=versions)
    with reading(shop.engine) as connection:
        priced = Ledger(connection).zones()
    if zone not in priced and zone not in shop.settings.zones:
        raise BadInput(f"no zone is called {zone!r}", hint=f"Zones with prices: {', '.join(priced) or 'none'}")
    progress.say(f"suggesting prices for zone {zone}")
    return ZonesReport((suggest_prices(*models, zone, versions=versions),), {})


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
        raise Unavailable(f"no {name} model is champion yet", hint=no_champion(name))
    return champion
