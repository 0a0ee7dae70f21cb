"""`shopwright prices suggest|simulate|export`: prices to approve, prices to look at, prices in
force."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.loading import load, names
from features.contracts.errors import BadInput, Unavailable, UnknownName
from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Objective
from features.contracts.tables import DEFAULT_ZONE
from models.registry import Version
from serving.cli.models import no_champion
from serving.cli.output import (
    JsonOption,
    Steps,
    print_json,
    print_line,
    print_table,
    replacing,
    steps,
)
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.price_desk.suggest import SuggestReport, ZonesReport
    from serving.pricing_inputs.items import PricingInputs

app = typer.Typer(help="Price suggestions and the price ledger", no_args_is_help=True)

DEFAULT_RULES = "default"
ZoneOption = Annotated[str | None, typer.Option(help="One zone; all zones with prices if unset")]


@app.command()
def suggest(
    objective: Annotated[
        str | None, typer.Option(help="profit, revenue, units, ...; as the rules say if unset")
    ] = None,
    zone: ZoneOption = None,
    strategy: Annotated[
        str, typer.Option(help="Rules of configs/pricing, by name")
    ] = DEFAULT_RULES,
    json: JsonOption = False,
) -> None:
    """Compute prices within the rules and file them for approval."""
    shop = Shop()
    with steps(1) as progress:
        found = suggest_all(shop, progress, objective=objective, zone=zone, strategy=strategy)
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
def simulate(
    item_id: Annotated[str, typer.Argument(help="Item")],
    price: Annotated[list[str], typer.Option(help="A price in major units; may be repeated")],
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Expected units, revenue and profit of an item at each price, with intervals."""
    from serving.what_if.api import price_document
    from serving.what_if.service import simulate_prices

    shop = Shop()
    check_zone(shop, zone)
    currency = shop.settings.zone(zone).currency
    with steps(1) as progress:
        inputs = pricing_inputs(shop, progress)
        found = simulate_prices(inputs, item_id, [to_minor(each, currency) for each in price], zone)
        progress.done()
    document = price_document(found)
    if json:
        print_json(document)
        return
    rows = []
    for point in document["items"]:
        at = point["expected"]
        bands = [at[name] for name in ("units", "revenue", "profit")]
        shown = [f"{_cell(b['p50'])} ({_cell(b['p10'])} to {_cell(b['p90'])})" for b in bands]
        rows.append(
            (
                point["price"],
                *shown,
                at["profit"]["against_keeping"]["p50"],
                ", ".join(point["broken_rules"]),
            )
        )
    known = f"elasticity {found.item.elasticity:.2f}, grade {found.item.evidence_grade}"
    title = (
        f"Item {item_id} at other prices, zone {zone}: now {document['current_price']} {currency}, {known}; "
        f"{found.horizon_weeks} weeks, mean (p10 to p90)"
    )
    print_table(title, ("price", "units", "revenue", "profit", "profit gained", "breaks"), rows)


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.1f}"


@app.command()
def export(
    out: Annotated[
        Path, typer.Option(help="CSV file to write, in the form of the table price_history")
    ],
    json: JsonOption = False,
) -> None:
    """Write the whole ledger: every price that was, is or will be in force. `shopwright import`
    reads it again."""
    from features.database import reading
    from features.prices.ledger import Ledger
    from features.prices.price_list import price_list, write_price_list

    with replacing(out) as staging, reading(Shop().engine) as connection:
        n_rows = write_price_list(staging, price_list(Ledger(connection).everything()))
    if json:
        print_json({"rows": n_rows, "file": str(out)})
    else:
        print_line(f"{n_rows:,} prices in {out}")


def suggest_all(
    shop: Shop,
    progress: Steps,
    *,
    objective: str | None = None,
    zone: str | None = None,
    strategy: str = DEFAULT_RULES,
) -> ZonesReport:
    """Opens the ledger where it lacks prices, then files suggestions for a zone, or for every zone
    that has prices."""
    from serving.price_desk.suggest import ZonesReport, suggest_everywhere, suggest_prices

    inputs = pricing_inputs(shop, progress, strategy=strategy, objective=objective, opening=True)
    if zone is None:
        progress.say("suggesting prices for every zone")
        return suggest_everywhere(inputs, shop.system_clock)
    check_zone(shop, zone)
    progress.say(f"suggesting prices for zone {zone}")
    return ZonesReport((suggest_prices(inputs, shop.system_clock, zone),), {})


def pricing_inputs(
    shop: Shop,
    progress: Steps,
    *,
    strategy: str = DEFAULT_RULES,
    objective: str | None = None,
    opening: bool = False,
) -> PricingInputs:
    """The champions, the rules and the ledger; with `opening` it is opened where it lacks
    prices."""
    from models.demand.model import DemandModel
    from models.pricing.response.elasticity import ElasticityModel
    from models.pricing.rules import PricingRules, set_objective
    from serving.prices.opening import open_ledger
    from serving.pricing_inputs.items import PricingInputs

    demand_version, pricing_version = _champion(shop, "demand"), _champion(shop, "pricing")
    overlay = shop.settings.config_dir
    known = names("pricing", overlay=overlay)
    if strategy not in known:
        raise UnknownName(strategy, known, kind="strategy")
    rules = set_objective(load(f"pricing/{strategy}", PricingRules, overlay=overlay), objective)
    if opening:
        progress.say("opening the price ledger")
        open_ledger(shop.facts, shop.engine, shop.settings, shop.clock, shop.system_clock)
    return PricingInputs(
        facts=shop.facts,
        engine=shop.engine,
        settings=shop.settings,
        demand_model=DemandModel.load(shop.registry.fetch(demand_version)),
        pricing_model=ElasticityModel.load(shop.registry.fetch(pricing_version)),
        rules=rules,
        now=shop.now(),
        presets={
            stage: load(f"pricing/{preset}", PricingRules, overlay=overlay)
            for stage, preset in rules.stages.items()
        },
        versions={"demand": demand_version.version, "pricing": pricing_version.version},
    )


def check_zone(shop: Shop, zone: str) -> None:
    """Raises BadInput for a zone that nobody knows."""
    from features.database import reading
    from features.prices.ledger import Ledger

    with reading(shop.engine) as connection:
        priced = Ledger(connection).zones()
    if zone not in priced and zone not in shop.settings.zones:
        raise BadInput(
            f"no zone is called {zone!r}", hint=f"Zones with prices: {', '.join(priced) or 'none'}"
        )


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
    columns = (
        "item",
        "title",
        "now",
        "suggested",
        "change",
        f"gain {report.currency}",
        "grade",
        "binding rule",
    )
    print_table(title, columns, rows)
    from models.pricing.optimise.waterfall import describe_broken_rule

    print_line(_proof(report))
    for broken in report.outcome.broken:
        kind = "hard" if broken.hard else "soft"
        print_line(
            f"Rule not kept: {broken.rule} ({kind}): {describe_broken_rule(broken, report.currency)}"
        )
    if report.n_flagged:
        print_line(f"{report.n_flagged:,} are flagged: a raise would spoil a planned promotion")
    for reason, count in sorted(report.kept.items(), key=lambda each: -each[1]):
        print_line(f"{count:,} keep their price: {reason}")
    for note in report.notes:
        print_line(f"Note: {note}")


def _proof(report: SuggestReport) -> str:
    """How near the prices are to the best possible ones, and what they are worth."""
    found, money = report.outcome, report.objective is not Objective.UNITS
    worth, keeping, bound = (
        to_major(round(each), report.currency) if money else f"{each:,.0f}"
        for each in (found.value, found.keeping, found.bound)
    )
    unit = report.currency if money else "units"
    return (
        f"Proven within {found.gap:.4%} of the best: {worth} {unit} against {keeping} for keeping all prices; "
        f"nothing within the same rules is worth more than {bound} ({found.n_steps} steps of the dual)"
    )


def as_document(report: SuggestReport) -> dict[str, Any]:
    """The report for machines."""
    return asdict(replace(report, kept=dict(report.kept)))


def _champion(shop: Shop, name: str) -> Version:
    champion = shop.registry.champion(name)
    if champion is None:
        raise Unavailable(f"no {name} model is champion yet", hint=no_champion(name))
    return champion
