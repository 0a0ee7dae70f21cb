"""`shopwright prices suggest|submit|simulate|export`: suggestions, what-if, the ledger."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.money import to_major, to_minor
from features.contracts.pricing import Objective
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import (
    JsonOption,
    Steps,
    print_json,
    print_line,
    print_table,
    replacing,
    steps,
)
from serving.cli.pricing import DEFAULT_RULES, check_zone, load_pricing_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR, Decider

if TYPE_CHECKING:
    from serving.price_desk.suggest import SuggestReport, ZonesReport
    from serving.what_if.documents import (
        ComparedMoneyResponse,
        ComparedUnitsResponse,
        PricePointResponse,
        PriceSimulationResponse,
    )

app = typer.Typer(help="Price suggestions and the price ledger", no_args_is_help=True)

ZoneOption = Annotated[str | None, typer.Option(help="One zone; all zones with prices if unset")]
_SUGGESTION_COLUMNS = ("item", "title", "now", "suggested", "change")
_SIMULATION_COLUMNS = ("price", "units", "revenue", "profit", "profit gained", "breaks")


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
        report = suggest_all(shop, progress, objective=objective, zone=zone, strategy=strategy)
        progress.done()
    if json:
        skipped = [{"zone": name, "reason": reason} for name, reason in report.skipped.items()]
        items = [report_document(zone_report) for zone_report in report.reports]
        print_json({"items": items, "skipped": skipped})
        return
    for zone_report in report.reports:
        print_suggestions(zone_report)
    for name, reason in report.skipped.items():
        print_line(f"Zone {name} is skipped: {reason}")


@app.command()
def submit(
    run_id: Annotated[str, typer.Argument(help="The run whose suggestions were held back")],
    reason: Annotated[
        str | None, typer.Option(help="Why they are right, for the audit log")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Submit the suggestions of a run that its guards held back; they can be approved then."""
    from features.database import transaction
    from serving.price_desk.decisions import decide_many
    from serving.price_desk.repository import SuggestionFilter

    shop = Shop()
    decider = Decider(OPERATOR, shop.now(), shop.system_clock.now(), reason)
    with transaction(shop.engine) as connection:
        result = decide_many(
            connection, decider, "submit", criteria=SuggestionFilter(run_id=run_id)
        )
    if json:
        print_json({"run_id": run_id, "matched": result.matched, "changed": len(result.changed)})
    elif result.matched:
        print_line(f"{len(result.changed):,} suggestions of {run_id} are submitted")
    else:
        print_line(f"{run_id} has no suggestion that was held back")


@app.command()
def simulate(
    item_id: Annotated[str, typer.Argument(help="Item")],
    price: Annotated[list[str], typer.Option(help="A price in major units; may be repeated")],
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Show expected units, revenue and profit of an item at each price, with intervals."""
    from serving.what_if.documents import describe_prices
    from serving.what_if.simulation import simulate_prices

    shop = Shop()
    check_zone(shop, zone)
    currency = shop.settings.zone(zone).currency
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        prices_minor = [to_minor(text, currency) for text in price]
        simulation = simulate_prices(inputs, item_id, prices_minor, zone)
        progress.done()
    document = describe_prices(simulation)
    if json:
        print_json(document.model_dump())
    else:
        _print_simulation(document)


def _print_simulation(document: PriceSimulationResponse) -> None:
    title = (
        f"Item {document.item_id} at other prices, zone {document.zone}: "
        f"now {document.current_price} {document.currency}, "
        f"elasticity {document.elasticity:.2f}, grade {document.evidence_grade}; "
        f"{document.horizon_weeks} weeks, mean (p10 to p90)"
    )
    print_table(title, _SIMULATION_COLUMNS, [_point_row(point) for point in document.items])


def _point_row(point: PricePointResponse) -> tuple[str, ...]:
    expected = point.expected
    return (
        point.price,
        _band_cell(expected.units),
        _band_cell(expected.revenue),
        _band_cell(expected.profit),
        expected.profit.against_keeping.p50,
        ", ".join(point.broken_rules),
    )


def _band_cell(band: ComparedUnitsResponse | ComparedMoneyResponse) -> str:
    mean, low, high = (
        value if isinstance(value, str) else f"{value:,.1f}"
        for value in (band.p50, band.p10, band.p90)
    )
    return f"{mean} ({low} to {high})"


@app.command()
def export(
    out: Annotated[
        Path, typer.Option(help="CSV file to write, in the form of the table price_history")
    ],
    json: JsonOption = False,
) -> None:
    """Write the whole ledger: every past, present and planned price. `shopwright import` reads it
    again."""
    from features.database import reading
    from features.prices.ledger import Ledger
    from features.prices.price_list import build_price_list, write_price_list

    with replacing(out) as staging, reading(Shop().engine) as connection:
        n_rows = write_price_list(staging, build_price_list(Ledger(connection).read_all()))
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
    """Open the ledger where it lacks prices, then file suggestions for one zone or every zone."""
    from serving.price_desk.suggest import ZonesReport, suggest_everywhere, suggest_prices

    inputs = load_pricing_inputs(
        shop, progress, strategy=strategy, objective=objective, opening=True
    )
    if zone is None:
        progress.say("suggesting prices for every zone")
        return suggest_everywhere(inputs, shop.system_clock)
    check_zone(shop, zone)
    progress.say(f"suggesting prices for zone {zone}")
    return ZonesReport((suggest_prices(inputs, shop.system_clock, zone),), {})


def print_suggestions(report: SuggestReport) -> None:
    """Print the suggestions with the largest expected gain, the kept prices and the assumptions."""
    rows = [
        (
            suggestion.item_id,
            (suggestion.title or "")[:32],
            to_major(suggestion.current_price_minor, suggestion.currency),
            to_major(suggestion.suggested_price_minor, suggestion.currency),
            f"{suggestion.share_change:+.1%}",
            to_major(round(suggestion.gain_minor or 0), suggestion.currency),
            suggestion.evidence_grade or "-",
            suggestion.binding_rule or "none",
        )
        for suggestion in report.largest
    ]
    for reason in report.held:
        print_line(f"Held back: {reason}")
    if report.held:
        print_line(
            f"The {report.n_suggested:,} suggestions of {report.run_id} are filed as suggested. "
            f"Look at the inputs, then: shopwright prices submit {report.run_id}"
        )
    title = (
        f"Price suggestions, zone {report.zone}: "
        f"{report.n_suggested:,} filed of {report.n_items:,} items "
        f"({report.objective} over {report.horizon_weeks} weeks); the largest expected gains"
    )
    columns = (*_SUGGESTION_COLUMNS, f"gain {report.currency}", "grade", "binding rule")
    print_table(title, columns, rows)
    from models.pricing.optimise.waterfall import describe_broken_rule

    print_line(_describe_outcome(report))
    for broken in report.outcome.broken:
        kind = "hard" if broken.hard else "soft"
        explanation = describe_broken_rule(broken, report.currency)
        print_line(f"Rule not kept: {broken.rule} ({kind}): {explanation}")
    if report.n_flagged:
        print_line(f"{report.n_flagged:,} are flagged: a raise would spoil a planned promotion")
    for reason, count in sorted(report.kept.items(), key=lambda entry: -entry[1]):
        print_line(f"{count:,} keep their price: {reason}")
    for note in report.notes:
        print_line(f"Note: {note}")


def _describe_outcome(report: SuggestReport) -> str:
    """Return how near the prices are to the best possible ones, and their objective value."""
    outcome, is_money = report.outcome, report.objective is not Objective.UNITS
    value, keeping, bound = (
        to_major(round(amount), report.currency) if is_money else f"{amount:,.0f}"
        for amount in (outcome.value, outcome.keeping, outcome.bound)
    )
    unit = report.currency if is_money else "units"
    return (
        f"Proven within {outcome.gap:.4%} of the best: {value} {unit} "
        f"against {keeping} for keeping all prices; "
        f"no prices within the same rules reach more than {bound} "
        f"({outcome.n_steps} steps of the dual)"
    )


def report_document(report: SuggestReport) -> dict[str, object]:
    """Return the report as JSON values."""
    return asdict(replace(report, kept=dict(report.kept)))
