"""`shopwright prices ...`: suggestions, what-if, the ledger; files in price_sheets.py."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.money import to_major, to_minor
from features.contracts.pricing import DEFAULT_RULES, Objective
from features.contracts.tables import DEFAULT_ZONE
from serving.access import SCOPES, Caller
from serving.cli.lock_prices import lock, locks, unlock
from serving.cli.output import (
    JsonOption,
    Steps,
    print_json,
    print_line,
    print_table,
    replacing,
    steps,
)
from serving.cli.price_controls import resume, stop
from serving.cli.price_proposals import propose
from serving.cli.price_rules import rules
from serving.cli.price_runs import compare, runs, why
from serving.cli.price_sheets import changes, labels, queue
from serving.cli.price_tests import tests
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.price_desk.suggest import SuggestReport, ZonesReport
    from serving.pricing_inputs.items import PricingInputs
    from serving.what_if.price_documents import (
        ComparedMoneyResponse,
        ComparedUnitsResponse,
        PricePointResponse,
        PriceSimulationResponse,
    )

SHOWN_REFUSALS = 10
app = typer.Typer(help="Price suggestions and the price ledger", no_args_is_help=True)
app.command("queue")(queue)
app.command("changes")(changes)
app.command("propose")(propose)
app.command("lock")(lock)
app.command("unlock")(unlock)
app.command("locks")(locks)
app.command("runs")(runs)
app.command("compare")(compare)
app.command("why")(why)
app.command("labels")(labels)
app.command("tests")(tests)
app.add_typer(rules, name="rules")
app.command("stop")(stop)
app.command("resume")(resume)

ZoneOption = Annotated[str | None, typer.Option(help="One zone; all zones with prices if unset")]
_GRADE = (
    "evidence grade"  # how the reason begins why an item of too little evidence keeps its price
)
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look: file nothing, leave the queue as it is")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compute prices within the rules and file them for approval, in place of what waits."""
    shop = Shop()
    with steps(1) as progress:
        inputs = load_pricing_inputs(
            shop, progress, strategy=strategy, objective=objective, opening=True
        )
        report = suggest_all(shop, progress, inputs, zone=zone, dry_run=dry_run)
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
    from features.prices.reduction_rule import PLAIN_RULES
    from serving.price_desk.decisions import decide_many
    from serving.price_desk.filters import SuggestionFilter
    from serving.price_desk.service import PriceDeskService

    shop = Shop()
    desk = PriceDeskService(shop.settings, shop.engine, shop.clock, shop.system_clock, PLAIN_RULES)
    operator = Caller(OPERATOR, OPERATOR, frozenset(SCOPES))
    decider = desk.decider(operator, "pricing.propose", reason)
    with transaction(shop.engine) as connection:
        result = decide_many(
            connection, decider, "submit", criteria=SuggestionFilter(run_id=run_id)
        )
    if json:
        refused = [
            {"id": refusal.suggestion_id, "reason": str(refusal.error)}
            for refusal in result.refused
        ]
        counts = {"matched": result.matched, "changed": len(result.changed)}
        named = {"refused": refused} if refused else {}
        print_json({"run_id": run_id, **counts, **named})
    elif result.matched:
        print_line(
            f"{len(result.changed):,} of {result.matched:,} suggestions of {run_id} are submitted"
        )
        for refusal in result.refused[:SHOWN_REFUSALS]:
            print_line(f"Not submitted: {refusal.suggestion_id}: {refusal.error}")
        if len(result.refused) > SHOWN_REFUSALS:
            print_line(f"{len(result.refused):,} are not submitted in all")
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
    from serving.what_if.price_documents import describe_prices
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
    inputs: PricingInputs | None = None,
    *,
    zone: str | None = None,
    dry_run: bool = False,
) -> ZonesReport:
    """Open the ledger where it lacks prices, then file suggestions for one zone or every zone.

    Without `inputs` under the default rules; a dry run files nothing.
    """
    from serving.price_desk.suggest import ZonesReport, suggest_everywhere, suggest_prices

    if inputs is None:
        inputs = load_pricing_inputs(shop, progress, opening=True)
    if zone is None:
        progress.say("suggesting prices for every zone")
        return suggest_everywhere(inputs, shop.system_clock, dry_run=dry_run)
    check_zone(shop, zone)
    progress.say(f"suggesting prices for zone {zone}")
    report = suggest_prices(inputs, shop.system_clock, zone, dry_run=dry_run)
    return ZonesReport((report,), {})


def print_suggestions(report: SuggestReport) -> None:
    """Print the suggestions with the largest expected gain, the kept prices and the assumptions."""
    from models.pricing.optimise.waterfall import describe_broken_rule
    from serving.price_desk.suggest import TRIAL

    for reason in report.held:
        print_line(f"Held back: {reason}")
    if report.status == TRIAL:
        print_line("A trial: nothing is filed, and what waits in the queue stays")
    elif report.held:
        print_line(
            f"The {report.n_suggested:,} suggestions of {report.run_id} are filed as suggested. "
            f"Look at the inputs, then: shopwright prices submit {report.run_id}"
        )
    print_largest(report)
    print_line(
        f"Run {report.run_id}: {report.n_suggested:,} {report.status}, "
        f"{report.n_superseded:,} earlier suggestions superseded"
    )
    print_line(_describe_outcome(report))
    for broken in report.outcome.broken:
        kind = "hard" if broken.hard else "soft"
        explanation = describe_broken_rule(broken, report.currency)
        print_line(f"Rule not kept: {broken.rule} ({kind}): {explanation}")
    if report.n_flagged:
        print_line(f"{report.n_flagged:,} are flagged: a raise would spoil a planned promotion")
    print_line(
        f"{sum(report.kept.values()):,} of the items have no suggestion "
        "(of one item: shopwright prices why ITEM):"
    )
    for reason, count in sorted(report.kept.items(), key=lambda entry: -entry[1]):
        print_line(f"  {count:,}: {reason}")
    if not report.n_suggested and any(reason.startswith(_GRADE) for reason in report.kept):
        print_line(
            "To learn more of them: shopwright prices tests --plan. To price them all the same: "
            "shopwright prices rules save NAME --set min_grade=C --comment WHY"
        )
    for note in report.notes:
        print_line(f"Note: {note}")


def print_largest(report: SuggestReport) -> None:
    """Print the suggestions with the largest expected gain, and how many rest on assumed costs."""
    from serving.price_desk.suggest import TRIAL

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
    title = (
        f"Price suggestions, zone {report.zone}: "
        f"{report.n_suggested:,} {'found' if report.status == TRIAL else 'filed'} "
        f"of {report.n_forecast:,} items with a forecast, "
        f"{report.n_items:,} of them with a price "
        f"({report.objective} over {report.horizon_weeks} weeks)"
    )
    columns = (*_SUGGESTION_COLUMNS, f"gain {report.currency}", "grade", "binding rule")
    if rows:
        print_table(f"{title}; the largest expected gains", columns, rows)
    else:
        print_line(title)
    if report.n_assumed_costs:
        print_line(
            f"Assumed costs: {report.n_assumed_costs:,} of the {report.n_suggested:,} suggestions, "
            f"and {report.n_assumed_rises:,} of the {report.n_rises:,} rises, rest on a cost that "
            "nobody knows"
        )


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
