"""Parts that the plan and the page of a price test share: what it should bring, its prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import ItemPrices
from features.prices.stored_tests import Json, StoredTest
from serving.catalogue.service import CatalogueItem
from serving.console.pages.price_test_words import write_decimal, write_period
from serving.console.parts import Column, show_measure, show_table
from serving.console.visit import Visit


@dataclass(frozen=True)
class _PricedItem:
    """An item of a unit with its prices; `is_higher` by period, `unit` as it was planned."""

    prices: ItemPrices
    is_higher: tuple[bool, ...]
    unit: Json
    is_first: bool


def show_expectation(visit: Visit, stored: StoredTest) -> None:
    """Show what a test is expected to bring and to cost, and how large it is."""
    texts, plan = visit.texts, stored.document["plan"]
    currency = visit.server.settings.zone(stored.zone).currency
    with ui.element("div").classes("strip"):
        for name in ("value", "cost", "net"):
            amount = texts.whole_money(plan[name], currency, signed=name == "net")
            show_measure(texts.get(f"tests.{name}"), amount, texts.get(f"tests.{name}_hint"))
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
        _PricedItem(prices, unit.is_higher, planned[unit.name], number == 0)
        for unit in test.units
        for number, prices in enumerate(unit.prices)
    ]

    def show_item(row: _PricedItem) -> None:
        item = names[row.prices.item_id]
        ui.label(item.name).classes("wrap")
        if item.name != item.item_id:
            ui.label(item.item_id).classes("muted")

    def write_unit(row: _PricedItem) -> str:
        if len(row.unit["prices"]) == 1:
            return texts.get("tests.single")
        return texts.get("tests.family", name=row.unit["name"].rpartition("/")[2])

    def write_price(number: int, row: _PricedItem) -> str:
        is_higher = row.is_higher[number]
        price = row.prices.higher_minor if is_higher else row.prices.lower_minor
        return f"{'▲' if is_higher else '▼'} {texts.money(price, currency)}"

    def write_errors(row: _PricedItem) -> str:
        now, after = row.unit["error_now"], row.unit["error_after"]
        return f"{write_decimal(visit, now)} → {write_decimal(visit, after)}"

    def write_cost(row: _PricedItem) -> str:
        return texts.money(row.unit["cost"], currency) if row.is_first else ""

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
                    write_period(visit, number, test.periods.n_periods),
                    partial(write_price, number),
                    is_number=True,
                    hint=texts.get("tests.price_hint"),
                )
                for number in range(test.periods.n_periods)
            ),
            Column(
                texts.get("tests.errors"),
                write_errors,
                is_number=True,
                hint=texts.get("tests.errors_hint"),
            ),
            Column(
                texts.get("tests.cost"),
                write_cost,
                is_number=True,
                hint=texts.get("tests.cost_hint"),
            ),
        ],
        caption=texts.get("tests.prices"),
    )
