"""A simulated promotion and a plan of promotions for people: all that their JSON says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.cli.output import print_line, print_table

if TYPE_CHECKING:
    from serving.what_if.effect_documents import EffectResponse, MoneyResponse, UnitsResponse
    from serving.what_if.plan_documents import PromotionPlanResponse
    from serving.what_if.promotion_documents import (
        PromotionSimulationResponse,
        SpendSaveResponse,
    )

_SHOWN_ITEMS = 20
NOT_FILED = (
    "Nothing of this is filed: no price changes, and nothing waits for approval. To plan one of "
    "these, file it: shopwright promotions file"
)


def print_plan(document: PromotionPlanResponse) -> None:
    """Print a plan, why other items have no promotion, and its notes."""
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
            item.ends_at.date().isoformat(),
            f"{item.depth:.0%}",
            item.current_price,
            item.price,
            *_describe_effect(item.net),
            item.evidence_grade,
            "; ".join(item.reasons),
        )
        for item in document.items
    ]
    net = ("net units", "net revenue", "net profit")
    columns = ("item", "from", "until", "off", "now", "price", *net, "grade", "why")
    print_table(title, columns, rows)
    print_line(NOT_FILED)
    for reason, count in document.left_out.items():
        print_line(f"{count:,} items have none: {reason}")
    for item_id in document.missing:
        print_line(f"Left out: {item_id} has no price or no forecast")
    for note in document.notes:
        print_line(f"Note: {note}")


def print_effects(document: PromotionSimulationResponse, title: str) -> None:
    """Print the effect of the promotion, one row each with it, against none and in the family."""
    effects = {
        "with it": document.expected,
        "without it": document.without,
        "more than without it": document.against_none,
        "change in its families": document.cannibalised,
        "change in the week after": document.after,
        "net": document.net,
    }
    rows = [
        (
            name,
            *_describe_effect(effect),
        )
        for name, effect in effects.items()
    ]
    print_table(title, ("", "units", "revenue", "profit"), rows)
    _print_items(document)
    if document.redeemed is not None:
        print_line(f"Units bought with the coupon: {_describe_band(document.redeemed)}")
    if document.spend_save is not None:
        _print_spend_save(document.spend_save, document.currency)


def _print_items(document: PromotionSimulationResponse) -> None:
    """Print prices and effects of the items, those that gain most units first."""
    items = sorted(document.items, key=lambda item: -item.against_none.units.p50)
    rows = [
        (
            item.item_id,
            item.current_price,
            item.price,
            _describe_band(item.expected.units),
            _describe_band(item.expected.profit),
            _describe_band(item.against_none.units),
            _describe_band(item.against_none.profit),
            _describe_band(item.lost_to_others.units),
            _describe_band(item.cannibalised.profit),
            _describe_band(item.after.profit),
        )
        for item in items[:_SHOWN_ITEMS]
    ]
    columns = (
        *("item", "now", "paid", "units", "profit", "more units", "more profit"),
        *("units lost to the others", "its family's profit", "profit of the week after"),
    )
    print_table(f"The items, {document.currency}", columns, rows)
    if len(items) > _SHOWN_ITEMS:
        print_line(f"{len(items) - _SHOWN_ITEMS:,} more items: --json")


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


def _describe_effect(effect: EffectResponse) -> tuple[str, str, str]:
    """Return units, revenue and profit with their bands."""
    return (
        _describe_band(effect.units),
        _describe_band(effect.revenue),
        _describe_band(effect.profit),
    )


def _describe_band(band: UnitsResponse | MoneyResponse) -> str:
    values = (band.p50, band.p10, band.p90)
    mean, low, high = (value if isinstance(value, str) else f"{value:,.1f}" for value in values)
    return f"{mean} ({low} to {high})"


def print_remarks(document: PromotionSimulationResponse, support: list[str]) -> None:
    """Print conflicts, unlawful reductions, items that are left out, and the assumptions."""
    for clash in document.conflicts:
        print_line(
            f"Conflict: {clash.item_id} with {clash.other} on {clash.other_item_id}, "
            f"{clash.starts_at:%Y-%m-%d} to {clash.ends_at:%Y-%m-%d}: {clash.why}"
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
