"""Prices: what does an item cost, what did it cost, and what is scheduled?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from nicegui import ui

from features.prices.ledger import Price
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Console, Page
from serving.console.pages.locked_prices import LockSection
from serving.console.parts import (
    Column,
    show_badge,
    show_heading,
    show_item_search,
    show_measure,
    show_table,
)
from serving.console.sales_chart import show_sales
from serving.console.section import Section, show_empty
from serving.forecasts.history import SoldWeek
from serving.prices.service import Quote
from serving.promotions.repository import ChangeGroup, Promotion

_CALENDAR_BEFORE, _CALENDAR_AFTER = timedelta(days=7), timedelta(weeks=13)


def add_pages(console: Console) -> None:
    """Add the page of the ledger."""

    @console.page("/prices", "prices")
    async def prices(page: Page) -> None:
        await _Prices(page).build()


@dataclass(frozen=True)
class _ItemPrices:
    """An item's price at a time, its rows of the ledger, and what was sold."""

    quote: Quote | None
    history: list[Price]
    weeks: list[SoldWeek]


class _Prices:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._item_id = page.visit.parameters.get("item")

    async def build(self) -> None:
        """Build the search, the item, the calendar of what is scheduled, and what is locked."""
        visit, texts = self._visit, self._visit.texts
        if visit.may("pricing.propose"):
            with self._page.actions:
                ui.button(
                    texts.get("propose.name"), on_click=lambda: ui.navigate.to("/prices/propose")
                ).props("unelevated")
        chosen: list[CatalogueItem] = []
        if self._item_id:
            found = await visit.read(visit.server.catalogue.find, [self._item_id])
            chosen = list(found.values())
        with ui.element("div").classes("filters"):
            show_item_search(visit, texts.get("prices.item"), chosen, self._choose)
            day = ui.input(texts.get("prices.on_day"), value=visit.parameters.get("day", "")).props(
                "dense outlined type=date stack-label"
            )
            day.on_value_change(lambda event: self._choose_day(event.value))
        self._item_area = ui.element("div").classes("section")
        self._show_item()
        show_heading(texts.get("prices.calendar"))
        Section(visit, self._read_calendar, self._show_calendar)
        LockSection(visit).build()

    async def _choose(self, item_ids: list[str]) -> None:
        self._item_id = item_ids[0] if item_ids else None
        self._visit.set_parameters(item=self._item_id)
        self._show_item()

    def _choose_day(self, day: str | None) -> None:
        self._visit.set_parameters(day=day or None)
        self._show_item()

    def _show_item(self) -> None:
        texts = self._visit.texts
        self._item_area.clear()
        with self._item_area:
            if self._item_id is None:
                show_empty(texts.get("prices.choose"), texts.get("prices.choose_hint"))
                return
            Section(self._visit, self._read_item, self._build_item)

    def _read_at(self) -> datetime:
        """Return the time that is asked about: the end of a day, or now."""
        visit = self._visit
        day = visit.parameters.get("day")
        if not day:
            return visit.server.prices.now()
        midnight = datetime.combine(datetime.fromisoformat(day).date(), time(23, 59, 59))
        return midnight.replace(tzinfo=visit.texts.timezone)

    def _read_item(self) -> _ItemPrices:
        visit, item_id = self._visit, self._item_id or ""
        prices = visit.server.prices
        quotes = prices.quote_items([item_id], visit.zone, self._read_at())
        return _ItemPrices(
            quote=quotes[0] if quotes else None,
            history=prices.read_history(item_id, visit.zone),
            weeks=visit.server.history.read_item(item_id, visit.zone),
        )

    def _build_item(self, item: _ItemPrices) -> None:
        visit, texts = self._visit, self._visit.texts
        at = texts.time(self._read_at())
        if item.quote is None:
            self._page.set_title(texts.get("prices.title_none", item=self._item_id or "", at=at))
        else:
            price = item.quote.price
            offer = texts.money(price.offer_price_minor, price.currency)
            self._page.set_title(
                texts.get("prices.title", item=self._item_id or "", price=offer, at=at)
            )
            with ui.element("div").classes("strip"):
                show_measure(texts.get("prices.offer"), offer)
                show_measure(
                    texts.get("prices.list"), texts.money(price.list_price_minor, price.currency)
                )
                prior = texts.money(item.quote.prior_price_minor, price.currency)
                show_measure(texts.get("prices.prior"), prior, texts.get("prices.prior_hint"))
                show_measure(texts.get("prices.since"), texts.day(price.valid_from))
            if price.expired_at is not None:
                show_badge(texts.get("prices.expired", day=texts.day(price.expired_at)), "warn")
        if any(week.units for week in item.weeks):
            show_sales(visit, visit.currency, item.weeks, [])
        show_heading(texts.get("prices.ledger"))
        self._show_ledger(item.history)

    def _show_ledger(self, history: Sequence[Price]) -> None:
        texts = self._visit.texts
        rows = sorted(history, key=lambda price: -price.seq)[:100]
        show_table(
            rows,
            [
                Column(texts.get("prices.from"), lambda price: texts.time(price.valid_from)),
                Column(texts.get("prices.until"), lambda price: texts.time(price.valid_to)),
                Column(
                    texts.get("prices.list"),
                    lambda price: texts.money(price.list_price_minor, price.currency),
                    is_number=True,
                ),
                Column(
                    texts.get("prices.offer"),
                    lambda price: texts.money(price.offer_price_minor, price.currency),
                    is_number=True,
                ),
                Column(
                    texts.get("prices.source"),
                    lambda price: texts.get(f"prices.source_{price.source}"),
                ),
                Column(texts.get("prices.recorded"), lambda price: texts.time(price.recorded_at)),
            ],
            caption=texts.get("prices.ledger"),
        )

    def _read_calendar(self) -> tuple[list[Promotion], list[ChangeGroup]]:
        visit = self._visit
        now = visit.server.prices.now()
        return visit.server.promotions.read_calendar(
            now - _CALENDAR_BEFORE, now + _CALENDAR_AFTER, visit.zone
        )

    def _show_calendar(self, calendar: tuple[list[Promotion], list[ChangeGroup]]) -> None:
        texts = self._visit.texts
        promotions, changes = calendar
        if not promotions and not changes:
            show_empty(texts.get("prices.nothing_planned"), texts.get("prices.fill_calendar"))
            return
        rows: list[tuple[datetime, datetime | None, str, str, int]] = [
            (one.starts_at, one.runs_until, one.name, texts.get("prices.promotion"), one.n_items)
            for one in promotions
        ] + [
            (one.starts_at, None, ", ".join(one.item_ids), texts.get("prices.change"), one.n_items)
            for one in changes
        ]
        show_table(
            sorted(rows, key=lambda row: row[0]),
            [
                Column(texts.get("prices.from"), lambda row: texts.time(row[0])),
                Column(texts.get("prices.until"), lambda row: texts.time(row[1])),
                Column(texts.get("prices.kind"), lambda row: row[3]),
                Column(texts.get("prices.what"), lambda row: row[2]),
                Column(texts.get("prices.items"), lambda row: texts.number(row[4]), is_number=True),
            ],
            caption=texts.get("prices.calendar"),
        )
