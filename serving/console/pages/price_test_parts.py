"""Parts that the plan and the page of a price test share: what it should bring, its prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from experiments.designs.price_test import PriceTest
from experiments.designs.requested_tests import NO_CATEGORY
from experiments.designs.tested_units import ItemPrices
from features.contracts.pricing import PriceTestDesign
from features.prices.stored_tests import Json, StoredTest
from serving.catalogue.service import CatalogueItem
from serving.console.pages.price_test_words import write_decimal, write_period
from serving.console.parts import Column, show_measure, show_table
from serving.console.visit import Visit


@dataclass(frozen=True)
class _PricedItem:
    """An item of a unit with its prices; `has_test_price` by period, `unit` as it was planned."""

    prices: ItemPrices
    has_test_price: tuple[bool, ...]
    unit: Json
    is_first: bool


def show_expectation(visit: Visit, stored: StoredTest) -> None:
    """Show what a test is expected to bring and to cost, and how large it is."""
    texts, plan = visit.texts, stored.document["plan"]
    currency = visit.server.settings.zone(stored.zone).currency
    with ui.element("div").classes("strip"):
        learns = texts.get(f"tests.learns_{stored.design}")
        show_measure(texts.get("tests.design"), texts.get(f"tests.design_{stored.design}"), learns)
        for name in ("value", "cost", "net"):
            if plan[name] is None:
                continue
            amount = texts.whole_money(plan[name], currency, signed=name == "net")
            hint = "tests.delay_hint" if stored.keeps_prices else f"tests.{name}_hint"
            show_measure(texts.get(f"tests.{name}"), amount, texts.get(hint))
        if "error" in plan:
            hint = "tests.no_error" if plan["error"] is None else "tests.error_hint"
            show_measure(
                texts.get("tests.error"), _write_error(visit, plan["error"]), texts.get(hint)
            )
        lengths = stored.document["test"]["periods"]
        show_measure(
            texts.get("tests.periods"),
            texts.get("tests.lengths", n=lengths["n_periods"], weeks=lengths["period_weeks"]),
            texts.get("tests.burn_in", n=lengths["burn_in_weeks"]),
        )
        size = texts.get("tests.n_items", n=plan["n_items"])
        show_measure(texts.get("tests.size"), size, texts.get("tests.n_weeks", n=plan["weeks"]))


def show_prices(
    visit: Visit, stored: StoredTest, test: PriceTest, names: Mapping[str, CatalogueItem]
) -> None:
    """Show each unit with the price of its items before the test and in each period."""
    texts = visit.texts
    currency = visit.server.settings.zone(stored.zone).currency
    planned = {unit["name"]: unit for unit in stored.document["plan"]["units"]}
    rows = [
        _PricedItem(prices, unit.has_test_price, planned[unit.name], number == 0)
        for unit in test.units
        for number, prices in enumerate(unit.prices)
    ]

    price_hint = "tests.new_price_hint" if test.keeps_prices else "tests.price_hint"

    def show_item(row: _PricedItem) -> None:
        item = names[row.prices.item_id]
        ui.label(item.name).classes("wrap")
        if item.name != item.item_id:
            ui.label(item.item_id).classes("muted")

    def write_unit(row: _PricedItem) -> str:
        if row.unit["name"] == NO_CATEGORY:
            return texts.get("tests.no_category")
        if test.design is not PriceTestDesign.CROSSOVER:
            return texts.get(f"tests.unit_{test.design}", name=row.unit["name"])
        if len(row.unit["prices"]) == 1:
            return texts.get("tests.single")
        return texts.get("tests.family", name=row.unit["name"].rpartition("/")[2])

    def write_price(number: int, row: _PricedItem) -> str:
        has_test_price = row.has_test_price[number]
        price = row.prices.find_price(is_test_price=has_test_price)
        amount = texts.money(price, currency)
        if test.keeps_prices and not has_test_price:
            return amount
        return f"{'▲' if price == row.prices.higher_minor else '▼'} {amount}"

    def write_errors(row: _PricedItem) -> str:
        errors = row.unit["error_now"], row.unit["error_after"]
        return " → ".join(_write_error(visit, error) for error in errors)

    def write_cost(row: _PricedItem) -> str:
        return texts.money(row.unit["cost"], currency) if row.is_first else ""

    errors = Column(
        texts.get("tests.errors"),
        write_errors,
        is_number=True,
        hint=texts.get("tests.errors_hint"),
    )
    show_table(
        rows,
        [
            Column(texts.get("queue.column_title"), show_item),
            Column(texts.get("tests.unit"), write_unit, hint=texts.get("tests.unit_hint")),
            Column(
                texts.get("tests.before"),
                lambda row: texts.money(row.prices.current_minor, currency),
                is_number=True,
            ),
            *(
                Column(
                    write_period(visit, test, number),
                    partial(write_price, number),
                    is_number=True,
                    hint=texts.get(price_hint),
                )
                for number in range(test.periods.n_periods)
            ),
            *([errors] if test.design is PriceTestDesign.CROSSOVER else []),
            Column(
                texts.get("tests.cost"),
                write_cost,
                is_number=True,
                hint=texts.get("tests.delay_hint" if test.keeps_prices else "tests.cost_hint"),
            ),
        ],
        caption=texts.get("tests.prices"),
    )


def _write_error(visit: Visit, error: float | None) -> str:
    return visit.texts.get("tests.unknown") if error is None else write_decimal(visit, error)
