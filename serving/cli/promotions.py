"""`shopwright promotions simulate`: the expected effect of a promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_time
from features.contracts.errors import UnknownName
from features.contracts.tables import DEFAULT_ZONE
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.shop import Shop

if TYPE_CHECKING:
    from serving.what_if.documents import PromotionRequest, PromotionSimulationResponse

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
    """Show expected units, revenue and profit of a promotion, the loss of its items' families, and
    its conflicts with other promotions."""
    from models.pricing.promotions.what_if import Mechanic
    from serving.what_if.documents import PromotionRequest

    if mechanic not in tuple(Mechanic):
        raise UnknownName(mechanic, tuple(Mechanic), kind="mechanic", where="--mechanic")
    shop = Shop()
    check_zone(shop, zone)
    request = PromotionRequest(
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
    document = _simulate_request(shop, request)
    if json:
        print_json(document.model_dump())
        return
    n_items, currency = len(document.items), document.currency
    title = f"{mechanic}, zone {zone}, {n_items} items, {currency}: mean (p10 to p90)"
    _print_effects(document, title)
    _print_remarks(document, request.support)


def _simulate_request(shop: Shop, request: PromotionRequest) -> PromotionSimulationResponse:
    from serving.what_if.baskets import mean_basket
    from serving.what_if.documents import describe_promotion
    from serving.what_if.simulation import simulate_promotion

    currency = shop.settings.zone(request.zone).currency
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        basket = None
        if request.lacks_basket:
            basket = mean_basket(inputs.facts, request.item_ids, request.zone, inputs.now)
        campaign = request.to_campaign(currency, basket)
        simulation = simulate_promotion(inputs, campaign, request.item_ids)
        progress.done()
    return describe_promotion(simulation, currency, basket)


def _print_effects(document: PromotionSimulationResponse, title: str) -> None:
    """Print the effect of the promotion, one row each with it, against none and in the family."""
    effects = {
        "with it": document.expected,
        "without it, more by": document.against_none,
        "its families lose": document.cannibalised,
        "net": document.net,
    }
    rows = [
        (
            name,
            f"{effect.units.p50:,.1f}",
            *(f"{band.p50} ({band.p10} to {band.p90})" for band in (effect.revenue, effect.profit)),
        )
        for name, effect in effects.items()
    ]
    print_table(title, ("", "units", "revenue", "profit"), rows)


def _print_remarks(document: PromotionSimulationResponse, support: list[str]) -> None:
    """Print conflicts, unlawful reductions, items that are left out, and the assumptions."""
    for clash in document.conflicts:
        print_line(
            f"Conflict: {clash.item_id} with {clash.other} on {clash.other_item_id}: {clash.why}"
        )
    for item in document.items:
        if item.unlawful is not None:
            print_line(f"May not be announced on {item.item_id}: {item.unlawful}")
    for item_id in document.missing:
        print_line(f"Left out: {item_id} has no price or no forecast")
    if support:
        lifts = [item.lift for item in document.items]
        print_line(
            f"Support ({', '.join(support)}) multiplies units by "
            f"{min(lifts):.2f} to {max(lifts):.2f}"
        )
    for note in document.notes:
        print_line(f"Note: {note}")
    if n_unknown := sum(not item.response_known for item in document.items):
        print_line(
            f"Note: the price response of {n_unknown} of the items is not known; "
            "the price brings no additional units of them"
        )
