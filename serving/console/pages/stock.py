"""Stock: what to order, how long the stock lasts, and what hardly moves."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from nicegui import ui

from models.registry import NAMES, Version
from serving.console.frame import Console, Page
from serving.console.grid_data import read_stock_filter
from serving.console.parts import (
    PAGE_ROWS,
    Column,
    is_untrained,
    name_element,
    show_badge,
    show_heading,
    show_measure,
    show_pager,
    show_table,
    show_untrained,
)
from serving.console.section import Section, show_empty
from serving.inventory.service import SORTS, Inventory, InventoryRow

_SHOWS = ("order", "slow", "all")
_ABC, _XYZ = "ABC", "XYZ"
_DAYS_SHOWN = 365


def add_pages(console: Console) -> None:
    """Add the page of the stock."""

    @console.page("/stock", "stock")
    async def show_stock(page: Page) -> None:
        await _StockPage(page).build()


@dataclass(frozen=True)
class _List:
    """The order list of a zone, and the rows that the address filters."""

    version: Version
    inventory: Inventory
    rows: list[InventoryRow]


class _StockPage:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._section: Section[_List | None]
        self._exports: ui.element

    async def build(self) -> None:
        """Show the filters, and the list."""
        texts, parameters = self._visit.texts, self._visit.parameters
        with self._page.actions:
            self._exports = ui.element("div").classes("actions")
        categories = await self._visit.read(self._visit.server.catalogue.list_categories)
        shows = {name: texts.get(f"stock.show_{name}") for name in _SHOWS}
        with ui.element("div").classes("filters"):
            shown = parameters.get("show", _SHOWS[0])
            toggle = ui.toggle(shows, value=shown if shown in shows else _SHOWS[0])
            name_element(toggle.props("no-caps"), texts.get("stock.show"))
            toggle.on_value_change(lambda event: self._change("show", event.value))
            classes = [*_ABC, *(abc + xyz for abc in _ABC for xyz in _XYZ)]
            self._show_select("category", {path: path for path in categories})
            self._show_select("class", {name: name for name in classes})
            self._show_select("sort", {name: texts.get(f"stock.sort_{name}") for name in SORTS})
            field = ui.input(texts.get("stock.search"), value=parameters.get("q", ""))
            field.props("dense outlined clearable debounce=300")
            field.on_value_change(lambda event: self._change("q", event.value))
        self._section = Section(self._visit, self._load, self._show, skeleton_rows=10)

    def _show_select(self, name: str, options: dict[str, str]) -> None:
        texts, value = self._visit.texts, self._visit.parameters.get(name, "")
        options = {"": texts.get(f"stock.any_{name}"), **options}
        select = ui.select(
            options,
            value=value if value in options else "",
            label=texts.get(f"stock.{name}"),
            with_input=len(options) > 20,
        ).props("dense outlined options-dense")
        select.on_value_change(lambda event: self._change(name, event.value))

    async def _change(self, name: str, value: str | None) -> None:
        self._visit.set_parameters(**{name: value, "first": None})
        await self._section.refresh()

    async def _go(self, first: int) -> None:
        self._visit.set_parameters(first=str(first) if first else None)
        await self._section.refresh()

    def _load(self) -> _List | None:
        if is_untrained(self._visit, NAMES[1]):
            return None
        version, inventory = self._visit.server.inventory.list_items(self._visit.zone)
        rows = read_stock_filter(self._visit.parameters).select(inventory.rows)
        return _List(version, inventory, rows)

    def _show(self, data: _List | None) -> None:
        if data is None:
            self._page.set_title(show_untrained(self._visit, NAMES[1]))
            return
        texts, inventory = self._visit.texts, data.inventory
        n_slow = sum(row.slow_mover for row in inventory.rows)
        title = texts.get("stock.title", n=inventory.n_to_order)
        self._page.set_title(title + texts.get("stock.title_slow", n=n_slow))
        self._show_exports()
        self._show_measures(inventory)
        if data.rows:
            self._show_rows(data.rows)
        else:
            show_empty(texts.get("stock.empty"), texts.get("stock.empty_text"))
        with ui.element("div").classes("columns stock-notes"):
            with ui.element("div"):
                show_heading(texts.get("stock.classes"))
                ui.label(texts.get("stock.classes_hint")).classes("muted")
                self._show_classes(inventory)
            with ui.element("div"):
                show_heading(texts.get("stock.notes"))
                for note in inventory.notes:
                    ui.label(note).classes("muted")
                ui.label(texts.get("stock.by_version", version=data.version.version)).classes(
                    "muted"
                )

    def _show_exports(self) -> None:
        self._exports.clear()
        query = urlencode({**self._visit.parameters, "zone": self._visit.zone})
        with self._exports:
            for kind in ("csv", "xlsx"):
                text = self._visit.texts.get("stock.export", kind=kind.upper())
                ui.link(text, f"/data/stock.{kind}?{query}").classes("link-button")

    def _show_measures(self, inventory: Inventory) -> None:
        texts, rows = self._visit.texts, inventory.rows
        known = [row for row in rows if row.on_hand is not None]
        out = sum(row.on_hand == 0 for row in known)
        short = sum(
            row.days_of_cover is not None and row.days_of_cover < row.lead_time_days
            for row in known
        )
        with ui.element("div").classes("strip"):
            for key, value in (
                ("to_order", inventory.n_to_order),
                ("out", out),
                ("short", short),
                ("unknown", len(rows) - len(known)),
            ):
                name, note = texts.get(f"stock.{key}"), texts.get(f"stock.{key}_note")
                show_measure(name, texts.number(value), note)

    def _show_rows(self, rows: list[InventoryRow]) -> None:
        texts = self._visit.texts
        text = self._visit.parameters.get("first", "")
        first = min(int(text), len(rows) - 1) if text.isdecimal() else 0
        shown = rows[first : first + PAGE_ROWS]

        def number(name: str, digits: int = 0) -> Column:
            return Column(
                texts.get(f"stock.{name}"),
                lambda row: texts.number(getattr(row, name), digits),
                is_number=True,
                hint=texts.get(f"stock.{name}_hint"),
            )

        columns = [
            Column(texts.get("stock.item"), self._show_item),
            Column(texts.get("stock.class"), self._show_class),
            number("weekly_units", 1),
            number("on_hand"),
            number("on_order"),
            Column(texts.get("stock.days_of_cover"), self._show_cover, is_number=True),
            number("reorder_point"),
            number("safety_stock"),
            Column(texts.get("stock.order"), self._show_order, is_number=True),
        ]
        show_table(shown, columns, caption=texts.get("stock.name"))
        show_pager(self._visit, first=first, shown=len(shown), total=len(rows), go=self._go)

    def _show_item(self, row: InventoryRow) -> None:
        target = urlencode({"item": row.item_id, "zone": self._visit.zone})
        ui.link(row.title or row.item_id, f"/demand?{target}")
        ui.label(f"{row.item_id} · {row.category}" if row.category else row.item_id).classes(
            "muted"
        )

    def _show_class(self, row: InventoryRow) -> None:
        texts = self._visit.texts
        with ui.element("div").classes("badges"):
            badge = show_badge(row.abc + row.xyz)
            badge.tooltip(
                texts.get("stock.class_words", abc=self._name(row.abc), xyz=self._name(row.xyz))
            )
            if row.slow_mover:
                show_badge(texts.get("stock.slow"), "warn")

    def _name(self, letter: str) -> str:
        return self._visit.texts.find(f"stock.class_{letter}", letter)

    def _show_cover(self, row: InventoryRow) -> None:
        texts, days = self._visit.texts, row.days_of_cover
        if days is None:
            ui.label("–")
            return
        text = f"> {texts.number(_DAYS_SHOWN)}" if days > _DAYS_SHOWN else texts.number(days)
        if days >= row.lead_time_days:
            ui.label(text)
            return
        hint = texts.get("stock.too_short", n=round(row.lead_time_days))
        ui.label(f"▼ {text}").classes("worse strong").tooltip(hint)

    def _show_order(self, row: InventoryRow) -> None:
        text = self._visit.texts.number(row.order)
        ui.label(text).classes("strong" if row.order else "muted")

    def _show_classes(self, inventory: Inventory) -> None:
        """Show how many items are in each class; a number filters the list."""
        texts = self._visit.texts

        def show_count(abc: str, xyz: str) -> None:
            count = inventory.classes.get(abc + xyz, 0)
            target = urlencode({"show": "all", "class": abc + xyz, "zone": self._visit.zone})
            link = ui.link(texts.number(count), f"/stock?{target}")
            name_element(link, texts.get("stock.items_of_class", n=count, name=abc + xyz))

        def add_column(xyz: str) -> Column:
            heading = f"{xyz} · {self._name(xyz)}"
            return Column(heading, lambda abc: show_count(abc, xyz), is_number=True)

        columns = [
            Column("", lambda abc: f"{abc} · {self._name(abc)}"),
            *(add_column(xyz) for xyz in _XYZ),
        ]
        show_table(_ABC, columns, caption=texts.get("stock.classes"))
