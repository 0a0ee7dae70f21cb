"""`shopwright promotions simulate`: what a promotion would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import UnknownName
from features.contracts.money import to_major
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.prices import check_zone, pricing_inputs
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.what_if.service import PromotionSimulation

app = typer.Typer(help="What-if of promotions", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `simulate` a verb of its own while it is the only one."""


@app.command()
def simulate(
    item: Annotated[list[str], typer.Option(help="An item of the promotion; may be repeated")],
    mechanic: Annotated[
        str, typer.Option(help="percent_off, price_off, bundle, spend_save or coupon")
    ],
    starts_at: Annotated[str, typer.Option("--from", help="RFC 3339 time")],
    ends_at: Annotated[str, typer.Option("--to", help="RFC 3339 time")],
    percent: Annotated[
        float | None, typer.Option(min=0, max=1, help="percent_off: share taken off, .2 is 20 %")
    ] = None,
    amount: Annotated[str | None, typer.Option(help="Taken off; the price of a bundle")] = None,
    threshold: Annotated[str | None, typer.Option(help="spend_save: what must be spent")] = None,
    mean_basket: Annotated[
        str | None,
        typer.Option(help="spend_save: mean spend on these items; that of the last weeks if unset"),
    ] = None,
    repeats: Annotated[bool, typer.Option(help="spend_save: for every threshold reached")] = False,
    take_up: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="bundle, coupon: share of the units bought that way"),
    ] = None,
    switching: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the additional units taken from the family"),
    ] = 0.25,
    support: Annotated[
        list[str] | None, typer.Option(help="display, mailer, ... with it; may be repeated")
    ] = None,
    reach: Annotated[
        float, typer.Option(min=0, max=1, help="Share of shops or visitors that the support meets")
    ] = 1.0,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Expected units, revenue and profit of a promotion, what it takes from families, and what it
    collides with."""
    from models.pricing.promotions.what_if import Mechanic
    from serving.what_if.api import PromotionRequest, basket_of, campaign_of, promotion_document
    from serving.what_if.service import simulate_promotion

    if mechanic not in tuple(Mechanic):
        raise UnknownName(mechanic, tuple(Mechanic), kind="mechanic", where="--mechanic")
    shop = Shop()
    check_zone(shop, zone)
    currency = shop.settings.zone(zone).currency
    wanted = PromotionRequest(
        item_ids=item,
        zone=zone,
        starts_at=parse_time(starts_at, where="--from"),
        ends_at=parse_time(ends_at, where="--to"),
        mechanic=Mechanic(mechanic),
        percent=percent,
        amount=amount,
        threshold=threshold,
        mean_basket=mean_basket,
        repeats=repeats,
        take_up=take_up,
        switching=switching,
        support=support or [],
        reach=reach,
    )
    with steps(1) as progress:
        inputs = pricing_inputs(shop, progress)
        basket = basket_of(inputs.facts, wanted, inputs.now)
        found = simulate_promotion(inputs, campaign_of(wanted, currency, basket), item)
        progress.done()
    document = promotion_document(found, currency, basket)
    if json:
        print_json(document)
        return
    print_what_if(found, f"{mechanic}, zone {zone}", currency, document["notes"])


def print_what_if(
    found: PromotionSimulation, title: str, currency: str, notes: Sequence[str]
) -> None:
    """A table of what it brings, and a line for each conflict, each item that is left out and what
    was assumed."""
    what_if = found.what_if
    named = {
        "without it, more by": what_if.against_none,
        "its families lose": what_if.cannibalised,
        "net": what_if.net,
    }
    rows = []
    for name, effect in {"with it": what_if.expected, **named}.items():
        bands = (effect.revenue, effect.profit)
        money_cells = [
            f"{to_major(round(b.p50), currency)} ({_range(b.p10, b.p90, currency)})" for b in bands
        ]
        rows.append((name, f"{effect.units.p50:,.1f}", *money_cells))
    print_table(
        f"{title}, {len(what_if.items)} items, {currency}: mean (p10 to p90)",
        ("", "units", "revenue", "profit"),
        rows,
    )
    for clash in found.conflicts:
        print_line(
            f"Conflict: {clash.item_id} with {clash.other} on {clash.other_item_id}: {clash.why}"
        )
    for item_id, why in found.unlawful.items():
        print_line(f"May not be announced on {item_id}: {why}")
    for item_id in found.missing:
        print_line(f"Left out: {item_id} has no price or no forecast")
    if what_if.campaign.support:
        low, high = (
            min(each.lift for each in what_if.items),
            max(each.lift for each in what_if.items),
        )
        print_line(
            f"Support ({', '.join(what_if.campaign.support)}) multiplies units by {low:.2f} to {high:.2f}"
        )
    for note in notes:
        print_line(f"Note: {note}")
    if unknown := sum(not each.known for each in what_if.items):
        print_line(
            f"Note: how {unknown} of the items answer to a price is not known; it brings no additional units"
        )


def _range(low: float, high: float, currency: str) -> str:
    return f"{to_major(round(low), currency)} to {to_major(round(high), currency)}"
