"""`shopwright promotions simulate|suggest`: what a promotion would do, and a plan of some."""

from __future__ import annotations

from typing import Annotated

import typer

from features.contracts.tables import DEFAULT_ZONE
from serving.cli import promotion_options as options
from serving.cli.output import JsonOption, print_json, steps
from serving.cli.pricing import check_zone, load_pricing_inputs
from serving.cli.promotion_filing import file_promotion, list_promotions, simulate_request
from serving.cli.promotion_report import NOT_FILED, print_effects, print_plan, print_remarks
from serving.cli.shop import Shop

app = typer.Typer(
    help="What-if of promotions, promotions to plan, and those of the price desk",
    no_args_is_help=True,
)
app.command("file")(file_promotion)
app.command("list")(list_promotions)


@app.command()
def simulate(
    item: Annotated[list[str], typer.Option(help="An item of the promotion; may be repeated")],
    mechanic: options.MechanicOption,
    starts_at: Annotated[
        str, typer.Option("--from", help="A time; without an offset, of the zone's time zone")
    ],
    ends_at: Annotated[str, typer.Option("--to", help="The same; it ends just before")],
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
    zone: Annotated[str, typer.Option(help="Zone")] = DEFAULT_ZONE,
    json: JsonOption = False,
) -> None:
    """Show expected units, revenue and profit of a promotion, the loss of its items' families, and
    its conflicts with other promotions."""
    given = locals()
    from serving.what_if.promotion_documents import PromotionRequest

    shop = Shop()
    check_zone(shop, zone)
    timezone = shop.settings.find_timezone(zone)
    request = options.read_request(PromotionRequest, given, timezone)
    document = simulate_request(shop, request)
    if json:
        print_json(document.model_dump())
        return
    n_items, currency = len(document.items), document.currency
    title = f"{mechanic}, zone {zone}, {n_items} items, {currency}: mean (p10 to p90)"
    print_effects(document, title)
    print_remarks(document, request.support)


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
    """Suggest which items to promote, how deep and in which weeks. Nothing is filed."""
    from models.pricing.promotions.weekly_plan import PlanLimits
    from serving.what_if.plan_documents import describe_plan
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
        print_json({**document.model_dump(mode="json"), "filed": False, "note": NOT_FILED})
    else:
        print_plan(document)
