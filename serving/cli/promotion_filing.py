"""`shopwright promotions file|list`: promotions for the price desk, and its calendar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from features.contracts.clock import parse_local_time
from features.contracts.tables import DEFAULT_ZONE
from serving.access import SCOPES, Caller
from serving.cli import promotion_options as options
from serving.cli.output import JsonOption, print_json, print_line, print_table, steps
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.shop import Shop
from serving.database.audit_log import OPERATOR

if TYPE_CHECKING:
    from serving.promotions.documents import PromotionDetailResponse
    from serving.promotions.service import PromotionService
    from serving.what_if.promotion_documents import PromotionRequest, PromotionSimulationResponse

_USUAL_SPAN = timedelta(weeks=13)


def file_promotion(
    name: Annotated[str, typer.Option(help="Its name, for people")],
    mechanic: options.MechanicOption,
    starts_at: options.BeginOption,
    ends_at: options.EndOption,
    item: Annotated[
        list[str] | None, typer.Option(help="An item of the promotion; may be repeated")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="In place of items: a category and all below it")
    ] = None,
    percent: options.PercentOption = None,
    amount: options.AmountOption = None,
    threshold: options.ThresholdOption = None,
    mean_basket: options.MeanBasketOption = None,
    repeats: options.RepeatsOption = False,
    take_up: options.TakeUpOption = None,
    coupon_reach: options.CouponReachOption = None,
    stretch: options.StretchOption = None,
    buy: options.BuyOption = 1,
    free: options.FreeOption = 1,
    switching: options.SwitchingOption = None,
    support: options.SupportOption = None,
    reach: options.ReachOption = 1.0,
    funding: Annotated[str, typer.Option(help="What suppliers pay towards it, in total")] = "0",
    cost: Annotated[str, typer.Option(help="What it costs beside its discounts")] = "0",
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log")] = None,
    confirm_large_change: Annotated[
        bool, typer.Option(help="A price that moves by more than half is meant")
    ] = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="A pricing rule that is meant to be broken, by its name; repeatable"),
    ] = None,
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """File a promotion with its what-if for the price desk; somebody there must approve it."""
    given = locals()
    from features.database import transaction
    from serving.promotions.documents import FilePromotionRequest, describe_promotion

    shop = Shop()
    check_zone(shop, zone)
    timezone = shop.settings.find_timezone(zone)
    request = options.read_request(FilePromotionRequest, given, timezone)
    service = _open_service(shop, lambda what_if: simulate_request(shop, what_if))
    prepared = service.prepare(request)
    operator = Caller(OPERATOR, OPERATOR, frozenset(SCOPES))
    decider = service.decider(operator, "pricing.propose", reason)
    with transaction(shop.engine) as connection:
        document = describe_promotion(service.file(connection, decider, prepared))
    if json:
        print_json(document.model_dump(mode="json"))
    else:
        _print_filed(document)


def list_promotions(
    begin: Annotated[
        str | None, typer.Option("--from", help="A time, of the shop's time zone; now if unset")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="13 weeks later if unset")] = None,
    zone: Annotated[str | None, typer.Option(help="Of this zone; of all if unset")] = None,
    json: JsonOption = False,
) -> None:
    """List the promotions of the price desk, and the price changes that begin in the same time."""
    from serving.promotions.documents import describe_calendar

    shop = Shop()
    timezone = shop.settings.timezone if zone is None else shop.settings.find_timezone(zone)
    starts_at = parse_local_time(begin, timezone, where="--from") if begin else shop.now()
    ends_at = parse_local_time(until, timezone, where="--to") if until else starts_at + _USUAL_SPAN
    service = _open_service(shop, lambda what_if: simulate_request(shop, what_if))
    document = describe_calendar(*service.read_calendar(starts_at, ends_at, zone))
    if json:
        print_json(document.model_dump(mode="json"))
        return
    rows = [
        (
            promotion.starts_at.isoformat(timespec="minutes"),
            (promotion.ended_at or promotion.ends_at).isoformat(timespec="minutes"),
            promotion.phase,
            promotion.name,
            promotion.zone,
            promotion.mechanic,
            f"{promotion.n_items:,}",
            promotion.id,
        )
        for promotion in document.items
    ]
    rows += [
        (
            day.starts_at.isoformat(timespec="minutes"),
            "",
            "prices",
            "",
            day.zone,
            "",
            f"{day.n_items:,}",
            "",
        )
        for day in document.price_changes
    ]
    columns = ("from", "to", "phase", "name", "zone", "mechanic", "items", "id")
    print_table("Promotions and price changes (UTC)", columns, sorted(rows))


def simulate_request(shop: Shop, request: PromotionRequest) -> PromotionSimulationResponse:
    """Return what a promotion would do by the champions of the shop."""
    from serving.what_if.campaign import build_campaign
    from serving.what_if.promotion_documents import describe_promotion
    from serving.what_if.simulation import simulate_promotion

    currency = shop.settings.zone(request.zone).currency
    with steps(1) as progress:
        inputs = load_pricing_inputs(shop, progress)
        requested = build_campaign(request, inputs.facts, currency, inputs.now)
        simulation = simulate_promotion(inputs, requested.campaign, request.item_ids)
        progress.done()
    return describe_promotion(simulation, currency, requested.inputs)


def _open_service(
    shop: Shop, simulate: Callable[[PromotionRequest], PromotionSimulationResponse]
) -> PromotionService:
    from features.facts.item_rules import ItemRules
    from serving.promotions.service import PromotionService

    return PromotionService(
        settings=shop.settings,
        engine=shop.engine,
        clock=shop.clock,
        system_clock=shop.system_clock,
        find_rules=ItemRules(shop.settings, shop.clock, shop.engine),
        simulate=simulate,
    )


def _print_filed(document: PromotionDetailResponse) -> None:
    print_line(
        f"Filed {document.id}: {document.name}, {document.n_items:,} items, zone {document.zone}, "
        f"{document.starts_at:%Y-%m-%d %H:%M} to {document.ends_at:%Y-%m-%d %H:%M} UTC"
    )
    if document.expected is not None:
        profit = document.expected["net"]["profit"]
        print_line(
            f"Net profit: {profit['p50']} ({profit['p10']} to {profit['p90']}) {document.currency}"
        )
    for warning in document.warnings:
        print_line(f"Note: {warning}")
    print_line(f"Somebody else approves it: POST /v1/promotions/{document.id}/approve")
