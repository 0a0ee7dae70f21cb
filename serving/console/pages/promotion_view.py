"""Promotions as they are shown: terms in words, expected effect, items, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from nicegui import ui

from features.contracts.money import to_minor
from features.contracts.pricing import Band
from serving.console.parts import Column, show_badge, show_heading, show_notice, show_table
from serving.console.queue_rows import QUANTITIES
from serving.console.visit import Visit
from serving.promotions.repository import NewPromotion, PromotionItem

_TONES = {"live": "better", "planned": "warn"}
_ITEMS = 100
# p10, p50 and p90: units, or money as decimals in major units.
BandDocument = Mapping[str, str | float]


def show_phase(visit: Visit, phase: str) -> ui.label:
    """Show where a promotion stands."""
    return show_badge(visit.texts.get(f"promotions.phase_{phase}"), _TONES.get(phase, ""))


def write_terms(visit: Visit, promotion: NewPromotion) -> str:
    """Return what everybody is offered: 20 % off."""
    texts, terms, currency = visit.texts, promotion.terms, promotion.currency

    def money(name: str) -> str:
        return texts.money(to_minor(str(terms[name]), currency), currency)

    mechanic = promotion.mechanic
    if mechanic == "coupon" and terms.get("amount") is not None:
        return texts.get("promotions.terms_coupon_amount", amount=money("amount"))
    if mechanic in ("percent_off", "coupon"):
        part = float(str(terms.get("percent") or 0))
        share = texts.share(part, 0 if round(part, 2) == part else 1)
        return texts.get(f"promotions.terms_{mechanic}", share=share)
    if mechanic in ("price_off", "bundle"):
        return texts.get(f"promotions.terms_{mechanic}", amount=money("amount"))
    if mechanic == "spend_save":
        key = "promotions.terms_spend_save"
        if terms.get("repeats"):
            key = "promotions.terms_spend_save_repeats"
        return texts.get(key, threshold=money("threshold"), amount=money("amount"))
    return texts.get("promotions.terms_buy_get", buy=terms.get("buy"), free=terms.get("free"))


def show_expected(visit: Visit, promotion: NewPromotion) -> None:
    """Show what the what-if expects: without it, with it, and what remains after what its families
    and the week after lose."""
    texts, currency = visit.texts, promotion.currency
    expected: Mapping[str, Any] | None = promotion.expected
    show_heading(texts.get("promotions.expected"), 3)
    if expected is None:
        ui.label(texts.get("promotions.no_effect")).classes("muted")
        return
    columns = [
        Column(
            texts.get(f"promotions.effect_{name}"),
            partial(_write_quantity, visit, expected[name], currency),
            is_number=True,
            hint=texts.get(f"promotions.hint_{name}"),
        )
        for name in ("without", "expected", "net")
    ]
    show_table(
        QUANTITIES,
        [Column("", lambda quantity: texts.get(f"suggestion.{quantity}")), *columns],
        caption=texts.get("promotions.expected"),
    )
    ui.label(texts.get("suggestion.range_hint")).classes("muted")
    if notes := [*_write_inputs(visit, expected.get("inputs", ())), *expected.get("notes", ())]:
        with ui.expansion(texts.get("promotions.assumed")).props("dense"):
            for note in notes:
                ui.label(note).classes("muted")


def show_warnings(promotion: NewPromotion) -> None:
    """Show what whoever approves should know."""
    for warning in promotion.warnings:
        show_notice(warning)


def show_items(visit: Visit, promotion: NewPromotion) -> None:
    """Show the items, each with its price under the promotion and its part of the effect."""
    texts, currency = visit.texts, promotion.currency
    items = promotion.items
    show_heading(texts.get("promotions.items", n=len(items)), 3)

    def profit(item: PromotionItem) -> str:
        values = (item.expected or {}).get("against_none")
        if not isinstance(values, Mapping):
            return texts.number(None)
        return _write_effect(visit, "profit", values["profit"], currency, signed=True)

    def units(item: PromotionItem) -> str:
        values = (item.expected or {}).get("against_none")
        if not isinstance(values, Mapping):
            return texts.number(None)
        return _write_effect(visit, "units", values["units"], currency, signed=True)

    show_table(
        items[:_ITEMS],
        [
            Column(texts.get("queue.column_title"), lambda item: item.title or item.item_id),
            Column(texts.get("queue.column_category"), lambda item: item.category),
            Column(
                texts.get("promotions.price_before"),
                lambda item: texts.money(item.current_price_minor, currency),
                is_number=True,
            ),
            Column(
                texts.get("promotions.price_under"),
                lambda item: texts.money(
                    item.current_price_minor
                    if item.promotion_price_minor is None
                    else item.promotion_price_minor,
                    currency,
                ),
                is_number=True,
            ),
            Column(texts.get("promotions.more_units"), units, is_number=True),
            Column(texts.get("promotions.more_profit"), profit, is_number=True),
        ],
        caption=texts.get("promotions.items", n=len(items)),
    )
    if len(items) > _ITEMS:
        ui.label(texts.get("bulk.more", n=len(items) - _ITEMS)).classes("muted")


def _write_quantity(
    visit: Visit, effect: Mapping[str, BandDocument], currency: str, quantity: str
) -> str:
    return _write_effect(visit, quantity, effect[quantity], currency)


def _write_effect(
    visit: Visit, quantity: str, document: BandDocument, currency: str, *, signed: bool = False
) -> str:
    read = float if quantity == "units" else partial(_read_minor, currency)
    band = Band(*(read(document[level]) for level in ("p10", "p50", "p90")))
    return visit.texts.band(band, None if quantity == "units" else currency, signed=signed)


def _read_minor(currency: str, amount: str | float) -> float:
    return to_minor(str(amount), currency)


def _write_inputs(visit: Visit, inputs: Sequence[Mapping[str, str | float]]) -> list[str]:
    """Return the numbers that the what-if took from the past, or assumed."""
    return [
        f"{one['name']} = {visit.texts.number(float(one['value']), 2)}: {one['note']}"
        for one in inputs
    ]
