"""`shopwright promotions simulate|suggest`: the expected effect of a promotion, and a plan."""

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
    from serving.what_if.documents import (
        MoneyResponse,
        PromotionPlanResponse,
        PromotionRequest,
        PromotionSimulationResponse,
        SpendSaveResponse,
        UnitsResponse,
    )

app = typer.Typer(help="What-if of promotions, and promotions to plan", no_args_is_help=True)


@app.command()
def simulate(
    item: Annotated[list[str], typer.Option(help="An item of the promotion; may be repeated")],
    mechanic: Annotated[
        str, typer.Option(help="percent_off, price_off, bundle, spend_save, coupon or buy_get")
    ],
    starts_at: Annotated[str, typer.Option("--from", help="RFC 3339 time")],
    ends_at: Annotated[str, typer.Option("--to", help="RFC 3339 time")],
    percent: Annotated[
        float | None, typer.Option(min=0, max=1, help="percent_off, coupon: share taken off")
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
        typer.Option(
            min=0,
            max=1,
            help="bundle, buy_get: share of the units bought that way; coupon: share of those who "
            "got one, as past coupons tell if unset",
        ),
    ] = None,
    coupon_reach: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="coupon: share of the demand whose buyers get one"),
    ] = None,
    stretch: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=20,
            help="spend_save: mean gap that orders close, as a multiple of the saving; learnt from "
            "past campaigns if unset",
        ),
    ] = None,
    buy: Annotated[int, typer.Option(min=1, help="buy_get: units that are paid")] = 1,
    free: Annotated[int, typer.Option(min=1, help="buy_get: units that come free")] = 1,
    switching: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the additional units taken from the family"),
    ] = None,
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
    from models.pricing.promotions.mechanics import Mechanic
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
        coupon_reach=coupon_reach,
        stretch=stretch,
        buy=buy,
        free=free,
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


@app.command()
def suggest(
    item: Annotated[
        list[str] | None, typer.Option(help="A candidate; may be repeated; all items if unset")
    ] = None,
    weeks: Annotated[int, typer.Option(min=1, max=13, help="Weeks to plan")] = 8,
    depth: Annotated[
        list[float] | None, typer.Option(help="A share off to try; may be repeated: .1, .2, .3")
    ] = None,
    max_per_week: Annotated[int, typer.Option(min=1, help="Promotions in one week")] = 20,
    max_per_item: Annotated[int, typer.Option(min=1, help="Promotions of one item")] = 2,
    spacing: Annotated[
        int, typer.Option(min=0, help="Weeks between two promotions of one item")
    ] = 5,
    risk_aversion: Annotated[
        float, typer.Option(min=0, max=1, help="0: by the mean gain; 1: by the worse end")
    ] = 0.5,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Suggest which items to promote, how deep and in which weeks. Nothing is written."""
    from models.pricing.promotions.weekly_plan import PlanLimits
    from serving.what_if.documents import describe_plan
    from serving.what_if.promotion_plan import suggest_promotions

    shop = Shop()
    check_zone(shop, zone)
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        limits = PlanLimits(
            depths=tuple(depth or PlanLimits.depths),
            max_per_week=max_per_week,
            max_per_item=max_per_item,
            spacing_weeks=spacing,
            min_margin=inputs.rules.min_margin,
            min_gain_minor=inputs.rules.min_gain_minor,
            risk_aversion=risk_aversion,
        )
        document = describe_plan(suggest_promotions(inputs, zone, weeks, limits, item))
        progress.done()
    if json:
        print_json(document.model_dump(mode="json"))
    else:
        _print_plan(document)


def _print_plan(document: PromotionPlanResponse) -> None:
    profit = document.net_profit
    title = (
        f"Promotions, zone {document.zone}: {len(document.items)} of {document.n_items:,} items "
        f"and their weeks; net profit {profit.p50} ({profit.p10} to {profit.p90}) "
        f"{document.currency}"
    )
    rows = [
        (
            item.item_id,
            item.starts_at.date().isoformat(),
            f"{item.depth:.0%}",
            item.current_price,
            item.price,
            _describe_band(item.net.profit),
            item.evidence_grade,
            "; ".join(item.reasons),
        )
        for item in document.items
    ]
    columns = ("item", "week", "off", "now", "price", "net profit", "grade", "why")
    print_table(title, columns, rows)
    for reason, count in document.left_out.items():
        print_line(f"{count:,} items have none: {reason}")
    for item_id in document.missing:
        print_line(f"Left out: {item_id} has no price or no forecast")
    for note in document.notes:
        print_line(f"Note: {note}")


def _simulate_request(shop: Shop, request: PromotionRequest) -> PromotionSimulationResponse:
    from serving.what_if.campaign import build_campaign
    from serving.what_if.documents import describe_promotion
    from serving.what_if.simulation import simulate_promotion

    currency = shop.settings.zone(request.zone).currency
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        requested = build_campaign(request, inputs.facts, currency, inputs.now)
        simulation = simulate_promotion(inputs, requested.campaign, request.item_ids)
        progress.done()
    return describe_promotion(simulation, currency, requested.inputs)


def _print_effects(document: PromotionSimulationResponse, title: str) -> None:
    """Print the effect of the promotion, one row each with it, against none and in the family."""
    effects = {
        "with it": document.expected,
        "without it, more by": document.against_none,
        "its families lose": document.cannibalised,
        "the week after loses": document.after,
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
    if document.redeemed is not None:
        print_line(f"Units bought with the coupon: {_describe_band(document.redeemed)}")
    if document.spend_save is not None:
        _print_spend_save(document.spend_save, document.currency)


def _print_spend_save(result: SpendSaveResponse, currency: str) -> None:
    bands: dict[str, UnitsResponse | MoneyResponse] = {
        "Orders with any of the items": result.orders,
        "Orders that reach the threshold": result.qualifying,
        "of which spend more to reach it": result.stretching,
        f"Spend added to reach it, {currency}": result.spend_added,
        f"Discount given, {currency}": result.discount,
        f"Net profit, {currency}": result.net_profit,
    }
    for name, band in bands.items():
        print_line(f"{name}: {_describe_band(band)}")


def _describe_band(band: UnitsResponse | MoneyResponse) -> str:
    values = (band.p50, band.p10, band.p90)
    mean, low, high = (value if isinstance(value, str) else f"{value:,.1f}" for value in values)
    return f"{mean} ({low} to {high})"


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
    for number in document.inputs:
        band = "" if number.low is None else f" ({number.low:.3g} to {number.high:.3g})"
        print_line(
            f"{number.source.capitalize()}: {number.name} {number.value:.3g}{band}: {number.note}"
        )
    for note in document.notes:
        print_line(f"Note: {note}")
    if n_unknown := sum(not item.response_known for item in document.items):
        print_line(
            f"Note: the price response of {n_unknown} of the items is not known; "
            "the price brings no additional units of them"
        )
