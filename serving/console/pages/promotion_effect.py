"""What a promotion brought: sales against its what-if, orders, visits, buyers who return."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from nicegui import ui

from features.contracts.pricing import Band
from serving.console.effect_parts import show_verdict_badge, write_value
from serving.console.parts import Column, show_heading, show_table
from serving.console.queue_rows import QUANTITIES
from serving.console.section import Section
from serving.console.texts import UNKNOWN
from serving.console.visit import Visit
from serving.promotions.effect import FORECAST, RETURN_DAYS, PromotionEffect
from serving.promotions.outcomes import Compared

_SHARES = ("conversion", "repeat_purchase")


def add_promotion_effect(visit: Visit, promotion_id: str) -> None:
    """Add what a promotion that began has brought, once it is read."""
    measure = visit.server.promotion_effects.measure
    Section(visit, lambda: measure(promotion_id), partial(_show, visit))


def _show(visit: Visit, effect: PromotionEffect) -> None:
    texts = visit.texts
    show_heading(texts.get("effects.heading"), 3)
    with ui.element("div").classes("effect-line").props('id="promotion-effect"'):
        show_verdict_badge(effect.verdict, texts)
        ui.label(texts.get("promotions.sold_until", at=texts.time(effect.until)))
        ui.label(_describe_control(visit, effect)).classes("muted")
    if why := effect.unknown.get("all") or effect.unknown.get("gain"):
        ui.label(why).classes("muted")
    if effect.sold is None:
        return
    _show_sales(visit, effect)
    _show_return(visit, effect)
    _show_comparisons(visit, effect)


def _describe_control(visit: Visit, effect: PromotionEffect) -> str:
    """Return what it is measured against, in words."""
    if effect.control == FORECAST:
        return visit.texts.get("promotions.control_forecast")
    moved = visit.texts.share(effect.control_factor - 1, signed=True)
    return visit.texts.get("promotions.control_items", items=effect.control, moved=moved)


def _show_sales(visit: Visit, effect: PromotionEffect) -> None:
    """Show units, revenue and profit: sold, expected with it and without it, and the difference."""
    texts, currency = visit.texts, effect.promotion.currency

    def sold(name: str) -> str:
        return write_value(getattr(effect.sold, name), texts, _currency_of(name, currency))

    def band(bands: Mapping[str, Band] | None, name: str, *, signed: bool = False) -> str:
        if bands is None or name not in bands:
            return UNKNOWN
        return texts.band(bands[name], _currency_of(name, currency), signed=signed, digits=1)

    show_table(
        QUANTITIES,
        [
            Column("", lambda name: texts.get(f"suggestion.{name}")),
            Column(texts.get("effects.sold"), sold, is_number=True),
            Column(
                texts.get("promotions.effect_expected"),
                lambda name: band(effect.expected, name),
                is_number=True,
                hint=texts.get("promotions.hint_frozen"),
            ),
            Column(
                texts.get("promotions.effect_without"),
                lambda name: band(effect.without, name),
                is_number=True,
                hint=texts.get("promotions.hint_frozen"),
            ),
            Column(
                texts.get("effects.effect"),
                lambda name: band(effect.gain, name, signed=True),
                is_number=True,
                hint=texts.get("suggestion.range_hint"),
            ),
        ],
        caption=texts.get("effects.heading"),
    )
    if why := effect.unknown.get("profit"):
        ui.label(texts.get("promotions.unknown_profit", why=why)).classes("muted")


def _show_return(visit: Visit, effect: PromotionEffect) -> None:
    """Show the return on what was put in: discounts and costs, less what suppliers pay."""
    texts = visit.texts
    if effect.roi is None:
        ui.label(texts.get("promotions.unknown_roi", why=effect.unknown["roi"])).classes("muted")
        return
    low, middle, high = (
        texts.share(value, 0) for value in (effect.roi.p10, effect.roi.p50, effect.roi.p90)
    )
    ui.label(texts.get("promotions.roi", share=middle, low=low, high=high))


def _show_comparisons(visit: Visit, effect: PromotionEffect) -> None:
    """Show orders, visits and buyers during it beside those before; why where that is unknown."""
    texts, currency = visit.texts, effect.promotion.currency
    rows = {
        "baskets": effect.baskets,
        "conversion": effect.conversion,
        "repeat_purchase": effect.returns,
    }
    known = {name: compared for name, compared in rows.items() if compared is not None}

    def write(name: str, value: float, *, signed: bool = False) -> str:
        if name in _SHARES:
            return texts.share(value, signed=signed)
        return texts.money(value, currency, signed=signed)

    def difference(row: tuple[str, Compared]) -> str:
        name, band = row[0], row[1].difference
        low, high = write(name, band.p10), write(name, band.p90)
        return f"{write(name, band.p50, signed=True)} ({low} – {high})"

    if known:
        show_table(
            list(known.items()),
            [
                Column("", lambda row: texts.get(f"promotions.{row[0]}", n=RETURN_DAYS)),
                Column(
                    texts.get("promotions.during"),
                    lambda row: write(row[0], row[1].during),
                    is_number=True,
                ),
                Column(
                    texts.get("promotions.before"),
                    lambda row: write(row[0], row[1].before),
                    is_number=True,
                    hint=texts.get("promotions.hint_before"),
                ),
                Column(texts.get("promotions.difference"), difference, is_number=True),
            ],
            caption=texts.get("promotions.compared"),
        )
    for name in (name for name in rows if name not in known):
        what = texts.get(f"promotions.{name}", n=RETURN_DAYS)
        ui.label(f"{what}: {effect.unknown[name]}").classes("muted")


def _currency_of(name: str, currency: str) -> str | None:
    """Return the currency in which a quantity is; units have none."""
    return None if name == "units" else currency
