"""Live: did it work? Changes that went live or are scheduled, and the way back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from serving.console.effect_parts import (
    MEASURED,
    add_warnings,
    describe_control,
    read_batch,
    read_effects,
    show_batch,
    show_verdict,
    write_profit,
)
from serving.console.frame import Console, Page
from serving.console.log_parts import name_author
from serving.console.pages.live_rollback import Rollbacks
from serving.console.parts import Column, name_element, show_badge, show_pager, show_table
from serving.console.queue_rows import find_effect, write_gain
from serving.console.section import Section, show_empty, show_error
from serving.console.texts import UNKNOWN
from serving.price_desk.filters import SuggestionFilter, SuggestionSort
from serving.price_desk.repository import Suggestion
from serving.price_desk.service import SuggestionPage

if TYPE_CHECKING:
    from serving.effects.measured import ChangeEffect, GroupEffect

_STATUSES = ("live", "scheduled", "rolled_back")
_ROWS = 50


def add_pages(console: Console) -> None:
    """Add the page of live changes."""

    @console.page("/live", "live")
    def live(page: Page) -> None:
        _Live(page).build()


class _Live:
    """The page as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit
        self._first = 0
        self._run = self._visit.parameters.get("run", "")
        self._cells: dict[str, tuple[ui.label, ui.element]] = {}
        self._chosen: dict[str, Suggestion] = {}
        self._rollbacks = Rollbacks(self._visit, self._show_again)

    def build(self) -> None:
        """Build the warnings, the choice of status and batch, and the list."""
        visit, texts = self._visit, self._visit.texts
        status = visit.parameters.get("status", _STATUSES[0])
        self._status = status if status in _STATUSES else _STATUSES[0]
        add_warnings(visit)
        with ui.element("div").classes("actions"):
            ui.toggle(
                {name: texts.get(f"status.{name}") for name in _STATUSES},
                value=self._status,
                on_change=lambda event: self._choose(event.value),
            ).props("no-caps dense")
            self._batches = ui.element("div")
        if visit.may("pricing.rollback"):
            with self._page.actions:
                ui.button(
                    texts.get("live.roll_back_day"), on_click=self._rollbacks.roll_back_day
                ).props("outline")
        self._section = Section(visit, self._read, self._show)
        ui.timer(0, self._build_batches, once=True)

    async def _build_batches(self) -> None:
        """Offer the runs and proposals with live changes."""
        visit, texts = self._visit, self._visit.texts
        self._batches.clear()
        try:
            runs = await visit.read(visit.server.effects.list_runs, visit.zone)
        except Exception as error:
            with self._batches:
                show_error(visit, error, self._build_batches)
            return
        names = list(dict.fromkeys([*([self._run] if self._run else []), *runs]))
        if not names:
            return
        with self._batches:
            ui.select(
                {"": texts.get("live.all_batches"), **{name: name for name in names}},
                value=self._run,
                label=texts.get("live.batch"),
                on_change=lambda event: self._choose_batch(event.value),
            ).props("dense outlined options-dense").classes("batch-choice")

    async def _choose(self, status: str) -> None:
        self._status = status
        self._visit.set_parameters(status=status)
        await self._show_again()

    async def _choose_batch(self, run: str) -> None:
        self._run = run
        self._visit.set_parameters(run=run or None)
        await self._show_again()

    async def _show_again(self) -> None:
        """Show the list from its beginning, with nothing selected."""
        self._first = 0
        self._chosen.clear()
        await self._section.refresh()

    async def _go(self, first: int) -> None:
        self._first = first
        await self._section.refresh()

    def _read(self) -> SuggestionPage:
        visit = self._visit
        criteria = SuggestionFilter(
            zone=visit.zone, status=(self._status,), run_id=self._run or None
        )
        order = SuggestionSort("begins", descending=True)
        return visit.server.price_desk.read_page(criteria, order, offset=self._first, limit=_ROWS)

    def _show(self, page: SuggestionPage) -> None:
        visit, texts = self._visit, self._visit.texts
        self._page.set_title(texts.get(f"live.title_{self._status}", n=page.total))
        if not page.suggestions:
            show_empty(texts.get("live.none"), texts.get("live.fill"))
            return
        self._cells.clear()
        if self._run and self._may_roll_back():
            ui.button(
                texts.get("live.roll_back_batch"),
                on_click=lambda: self._rollbacks.roll_back_batch(self._run),
            ).props("outline")
        together = ui.element("div")
        show_table(page.suggestions, self._list_columns(), caption=texts.get("live.name"))
        if self._status in MEASURED:
            ui.timer(0, partial(self._fill_effects, page, together), once=True)
        show_pager(
            visit,
            first=self._first,
            shown=len(page.suggestions),
            total=page.total,
            go=self._go,
        )
        if self._may_roll_back():
            self._build_bar()

    def _may_roll_back(self) -> bool:
        return self._status != "rolled_back" and self._visit.may("pricing.rollback")

    def _build_bar(self) -> None:
        """Build what can be done with the selection; it is seen while something is selected."""
        texts = self._visit.texts
        with ui.element("div").classes("action-bar").props("role=region") as self._bar:
            name_element(self._bar, texts.get("live.selection"))
            self._n_chosen = ui.label("")
            ui.space()
            ui.button(texts.get("live.roll_back_chosen"), on_click=self._roll_back_chosen).props(
                "outline"
            )
        self._update_bar()

    def _update_bar(self) -> None:
        self._n_chosen.set_text(self._visit.texts.get("queue.selected", n=len(self._chosen)))
        self._bar.set_visibility(bool(self._chosen))

    async def _roll_back_chosen(self) -> None:
        await self._rollbacks.roll_back_chosen(list(self._chosen.values()))

    async def _fill_effects(self, page: SuggestionPage, together: ui.element) -> None:
        """Measure the changes that are shown, and the chosen batch: that takes a moment."""
        visit, texts = self._visit, self._visit.texts
        cells = dict(self._cells)
        together.clear()

        def read() -> tuple[dict[str, ChangeEffect], GroupEffect | None]:
            batch = read_batch(visit, self._run) if self._run else None
            return read_effects(visit, page.suggestions), batch

        try:
            effects, batch = await visit.read(read)
        except Exception as error:
            with together:
                show_error(visit, error, partial(self._fill_effects, page, together))
            effects, batch = {}, None
        for suggestion in page.suggestions:
            label, verdict = cells[suggestion.id]
            effect = effects.get(suggestion.id)
            if effect is None:
                label.set_text(UNKNOWN)
                continue
            label.set_text(write_profit(effect, texts, suggestion.currency))
            with verdict:
                show_verdict(effect, texts, describe_control(effect, texts))
        if batch is not None:
            with together:
                show_batch(visit, batch)

    def _list_columns(self) -> list[Column]:
        texts = self._visit.texts

        def link(suggestion: Suggestion) -> None:
            address = f"/queue/{suggestion.id}?status={suggestion.status}"
            ui.link(suggestion.title or suggestion.item_id, address)

        def change(suggestion: Suggestion) -> str:
            before = texts.money(suggestion.current_price_minor, suggestion.currency)
            after = texts.money(suggestion.suggested_price_minor, suggestion.currency)
            arrow = "▲" if suggestion.share_change > 0 else "▼"
            return f"{before} → {after}  {arrow} {texts.share(abs(suggestion.share_change))}"

        def write_expected(suggestion: Suggestion) -> str:
            gain = find_effect(suggestion, "profit", gain=True)
            return write_gain(gain, texts, suggestion.currency)

        columns = [
            Column(texts.get("queue.column_title"), link),
            Column(texts.get("live.change"), change),
            Column(texts.get("live.since"), lambda one: texts.time(one.effective_from)),
            Column(texts.get("live.by"), lambda one: name_author(texts, one.decided_by)),
            Column(texts.get("live.expected"), write_expected, is_number=True),
        ]
        if self._status in MEASURED:
            hint = texts.get("live.effect_hint")
            columns += [
                Column(texts.get("live.effect"), self._add_effect, is_number=True, hint=hint),
                Column(texts.get("live.verdict"), self._add_verdict),
            ]
        if self._may_roll_back():
            columns.insert(0, Column("", self._add_choice))
            columns.append(Column("", self._add_rollback))
        return columns

    def _add_choice(self, suggestion: Suggestion) -> None:
        price_id = suggestion.price_id
        if price_id is None:
            return

        def choose(event: ValueChangeEventArguments) -> None:
            if event.value:
                self._chosen[price_id] = suggestion
            else:
                self._chosen.pop(price_id, None)
            self._update_bar()

        box = ui.checkbox(value=price_id in self._chosen, on_change=choose).props("dense")
        name = suggestion.title or suggestion.item_id
        name_element(box, self._visit.texts.get("live.choose", item=name))

    def _add_effect(self, suggestion: Suggestion) -> None:
        label = ui.label("…").classes("effect")
        self._cells[suggestion.id] = label, label

    def _add_verdict(self, suggestion: Suggestion) -> None:
        label, _ = self._cells[suggestion.id]
        self._cells[suggestion.id] = label, ui.element("div").classes("verdict")

    def _add_rollback(self, suggestion: Suggestion) -> None:
        texts = self._visit.texts
        if suggestion.price_id is None:
            show_badge(texts.get("live.not_yet"))
            return
        ui.button(
            texts.get("live.roll_back"),
            on_click=partial(self._rollbacks.roll_back_one, suggestion),
        ).props("flat dense")
