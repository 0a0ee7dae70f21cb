"""Queue: which of these suggestions do I accept? Rows are read a page at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.events import GenericEventArguments, ValueChangeEventArguments

from serving.console.bulk_sheet import BulkSheet
from serving.console.dialogs import QuickDialog
from serving.console.frame import Console, Page
from serving.console.pages.decision_file import DecisionFileSheet
from serving.console.pages.queue_grid import PAGE_ROWS, SORT_KEYS, build_options
from serving.console.pages.queue_views import QueueViews
from serving.console.pages.suggestion import show_suggestion
from serving.console.parts import show_heading
from serving.console.queue_rows import FILTERS, PARAMETERS, WAITING, name_rule, read_filter
from serving.console.section import show_empty
from serving.console.undo_toast import report_decision, report_file
from serving.console.visit import Visit
from serving.database.desk_tables import SUGGESTION_STATUSES
from serving.price_desk.actions import DeskActions
from serving.price_desk.filters import SuggestionFilter

_GRADES = ("A", "B", "C", "D")


def add_pages(console: Console) -> None:
    """Add the queue, also with a suggestion open beside it."""

    @console.page("/queue", "queue")
    async def queue(page: Page) -> None:
        await _Queue(page).show()

    @console.page("/queue/{suggestion_id}", "queue")
    async def open_suggestion(page: Page) -> None:
        await _Queue(page).show(page.visit.parameters.pop("suggestion_id"))


@dataclass
class _Queue:
    """The queue as one person has it open."""

    page: Page
    selected: list[str] = field(default_factory=list)
    total: int = 0
    drawer: ui.element | None = None
    n_selected: ui.label | None = None
    columns: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def visit(self) -> Visit:
        return self.page.visit

    @property
    def actions(self) -> DeskActions:
        return DeskActions(self.visit.server.price_desk)

    def read_filter(self) -> SuggestionFilter:
        visit = self.visit
        now = visit.server.clock.now()
        return read_filter(visit.parameters, visit.zone, visit.currency, now)

    async def show(self, opened_id: str | None = None) -> None:
        visit = self.visit
        visit.path = "/queue"
        self._fetch_first_rows()
        self._build_page_actions()
        views = QueueViews(visit, lambda: self.columns)
        self.columns = list(views.find_columns() or visit.preferences.get("queue_columns", []))
        views.build()
        filters = _FilterBar(self)
        filters.build()
        self.empty = ui.element("div").classes("section")
        self.grid = ui.aggrid(build_options(visit, self.columns), auto_size_columns=False)
        self.grid.classes("grid-frame")
        self.side = ui.element("div")
        self.bar = ui.element("div").classes("action-bar").props("role=toolbar")
        self.bar.props(f'aria-label="{visit.texts.get("queue.decide")}"')
        self._listen()
        self.build_bar()
        ui.add_body_html('<script src="/static/queue.js" defer></script>')
        ui.run_javascript(
            "const start = () => window.shopwright?.queue"
            f" ? shopwright.queue.start({self.grid.id}, {json.dumps(self.query())},"
            f" {json.dumps(SORT_KEYS)})"
            " : setTimeout(start, 50); start()"
        )
        ui.timer(0, filters.load_choices, once=True)
        if opened_id:
            ui.timer(0, partial(self.open, opened_id), once=True)

    def _fetch_first_rows(self) -> None:
        """Let the browser ask for the rows while it still loads the grid, which takes them then."""
        query = self.query()
        address = f"/data/queue?{query}&offset=0&limit={PAGE_ROWS}"
        ui.add_head_html(
            f"<script>window.firstRows = {{query: {json.dumps(query)}, answer: "
            f"fetch({json.dumps(address)}, {{headers: {{Accept: 'application/json'}}}})}};"
            "window.firstRows.answer.catch(() => {});</script>"
        )

    def query(self) -> str:
        """Return the parameters of the data that the grid shows."""
        parameters = {k: v for k, v in self.visit.parameters.items() if k in PARAMETERS}
        return urlencode({**parameters, "zone": self.visit.zone})

    def _build_page_actions(self) -> None:
        texts = self.visit.texts
        with self.page.actions:
            if self.visit.may("pricing.approve") or self.visit.may("pricing.propose"):
                ui.button(
                    texts.get("decisions.name"), icon="upload_file", on_click=self._decide_by_file
                ).props("flat dense")
            for kind in ("csv", "xlsx"):
                ui.button(
                    texts.get(f"queue.export_{kind}"),
                    icon="download",
                    on_click=lambda kind=kind: ui.navigate.to(
                        f"/data/queue.{kind}?{self.query()}", new_tab=True
                    ),
                ).props("flat dense")
            ui.button(icon="keyboard", on_click=self.show_help).props(
                f'flat dense aria-label="{texts.get("queue.keys")}"'
            )

    def _listen(self) -> None:
        ui.on("queue_loaded", self._on_loaded)
        ui.on("queue_failed", self._on_failed)
        ui.on("queue_selected", self._on_selected)
        ui.on("queue_sorted", self._on_sorted)
        ui.on("queue_columns", self._on_columns)
        ui.on("queue_act", self._on_act)
        ui.on("queue_open", lambda event: self.open(event.args["id"]))
        ui.on("queue_close", lambda _event: self.close())
        ui.on("queue_help", lambda _event: self.show_help())

    def _on_loaded(self, event: GenericEventArguments) -> None:
        self.total = int(event.args["total"])
        texts = self.visit.texts
        is_waiting = self.visit.parameters.get("status", WAITING) == WAITING
        key = "queue.title" if is_waiting else "queue.title_all"
        is_filtered = any(self.visit.parameters.get(name) for name in FILTERS)
        none = "queue.title_none" if is_filtered else "today.title_none"
        self.page.set_title(texts.get(key if self.total else none, n=self.total))
        self.empty.clear()
        if not self.total and not is_filtered:
            with self.empty:
                show_empty(
                    texts.get("today.nothing"), texts.get("today.fill"), "shopwright prices suggest"
                )
        self.build_bar()

    def _on_failed(self, event: GenericEventArguments) -> None:
        text = " · ".join(filter(None, (event.args["what"], event.args["hint"])))
        ui.notify(
            text, type="negative", timeout=0, close_button=self.visit.texts.get("frame.close")
        )

    def _on_selected(self, event: GenericEventArguments) -> None:
        self.selected = list(event.args["ids"])
        self.build_bar()

    def _on_sorted(self, event: GenericEventArguments) -> None:
        key = event.args["key"] or None
        self.visit.set_parameters(sort=key, descending="1" if event.args["descending"] else None)

    async def _on_columns(self, event: GenericEventArguments) -> None:
        self.columns = list(event.args["columns"])
        await self.visit.remember("queue_columns", self.columns)

    async def _on_act(self, event: GenericEventArguments) -> None:
        ids = list(event.args["ids"])
        if not ids:
            return
        if event.args["action"] == "edit":
            await self.open(ids[0])
        else:
            await self.decide(event.args["action"], ids)

    def filter_by(self, name: str, value: str | None) -> None:
        """Change one filter; the address and the rows follow."""
        self.visit.set_parameters(**{name: value})
        self.refresh()

    def refresh(self) -> None:
        """Read the rows anew."""
        ui.run_javascript(f"shopwright.queue.show({json.dumps(self.query())})")

    def build_bar(self) -> None:
        """Show what can be done with the selection.

        The buttons stay while it grows or shrinks: a click that is on its way must not miss them.
        """
        visit, texts = self.visit, self.visit.texts
        text = texts.get("queue.selected", n=len(self.selected))
        if self.selected and self.n_selected is not None:
            self.n_selected.set_text(text)
            return
        self.bar.clear()
        self.n_selected = None
        with self.bar:
            if self.selected:
                self.n_selected = ui.label(text)
            else:
                ui.label(texts.get("queue.none_selected")).classes("muted")
            ui.space()
            if not self.selected and self.total:
                if visit.may("pricing.approve"):
                    ui.button(
                        texts.get("queue.approve_all", n=self.total),
                        on_click=lambda: self.decide("approve", None),
                    ).props("flat")
                return
            if not self.selected:
                return
            if visit.may("pricing.approve"):
                ui.button(
                    texts.get("queue.approve"),
                    on_click=lambda: self.decide("approve", self.selected),
                ).props("unelevated")
                ui.button(
                    texts.get("queue.reject"), on_click=lambda: self.decide("reject", self.selected)
                ).props("outline")
                ui.button(
                    texts.get("queue.schedule"),
                    on_click=lambda: self.decide("schedule", self.selected),
                ).props("outline")
            if visit.may("pricing.propose"):
                ui.button(
                    texts.get("queue.submit"), on_click=lambda: self.decide("submit", self.selected)
                ).props("flat")

    async def decide(self, action: str, ids: Sequence[str] | None) -> None:
        """Show what a decision would do, make it, and say what was refused."""
        criteria = None if ids is not None else self.read_filter()
        is_scheduled = action == "schedule"
        sheet = BulkSheet(
            self.visit, "approve" if is_scheduled else action, ids, criteria, is_scheduled
        )
        result = await sheet.ask()
        if result is not None:
            report_decision(self.visit, sheet.action, result, self.refresh)
            self.refresh()

    async def _decide_by_file(self) -> None:
        """Make the decisions of a file, once its rows were shown."""
        decided = await DecisionFileSheet(self.visit).ask()
        if decided is not None:
            report_file(self.visit, decided, self.refresh)
            self.refresh()

    async def open(self, suggestion_id: str) -> None:
        """Show a suggestion beside the grid."""
        self.close()
        self.visit.show_address(f"/queue/{suggestion_id}")
        with self.side:
            self.drawer = ui.element("aside").classes("drawer")
        with self.drawer:
            await show_suggestion(
                self.visit, suggestion_id, on_close=self.close, on_change=self.refresh
            )

    def close(self) -> None:
        """Close the suggestion."""
        if self.drawer is not None:
            self.drawer.delete()
            self.drawer = None
            self.visit.set_parameters()

    def show_help(self) -> None:
        """List the keys."""
        texts = self.visit.texts
        with QuickDialog(value=True), ui.card().classes("sheet"):
            show_heading(texts.get("queue.keys"))
            for line in texts.get("queue.key_list").split(";"):
                key, _, meaning = line.partition("=")
                with ui.element("div").classes("key-line"):
                    with ui.element("kbd"):
                        ui.label(key.strip())
                    ui.label(meaning.strip())


@dataclass(frozen=True)
class _Choices:
    """What the filters offer, with how many suggestions each matches."""

    categories: dict[str, int]
    rules: dict[str, int]


def _read_choices(visit: Visit) -> _Choices:
    desk = visit.server.price_desk
    criteria = SuggestionFilter(zone=visit.zone, status=(WAITING, "suggested"))
    return _Choices(
        categories=desk.count_suggestions(criteria, "category"),
        rules=desk.count_suggestions(criteria, "binding_rule"),
    )


class _FilterBar:
    """The filters above the grid; each writes itself into the address."""

    def __init__(self, queue: _Queue) -> None:
        self.queue = queue

    async def load_choices(self) -> None:
        """Offer what there is to choose from, with how many suggestions each matches."""
        visit = self.queue.visit
        choices = await visit.read(_read_choices, visit)
        self._offer(self._category, _list_categories(choices.categories))
        rules = {rule: f"{name_rule(rule, visit.texts)} ({n})" for rule, n in choices.rules.items()}
        self._offer(self._rule, rules)

    def build(self) -> None:
        texts, parameters = self.queue.visit.texts, self.queue.visit.parameters
        with ui.element("div").classes("filters of-queue").props("role=search"):
            ui.input(texts.get("queue.filter_text"), value=parameters.get("text", "")).props(
                "dense outlined clearable debounce=300"
            ).classes("filter-text").on_value_change(partial(self._change, "text"))
            statuses = {status: texts.get(f"status.{status}") for status in SUGGESTION_STATUSES}
            self._select(
                "status", statuses, parameters.get("status", WAITING).split(","), many=True
            )
            self._category = self._select("category", {})
            grades = {grade: grade for grade in _GRADES}
            grade = [each for each in parameters.get("grade", "").split(",") if each]
            self._select("grade", grades, grade, many=True)
            self._rule = self._select("rule", {})
            for name in ("change", "gain"):
                ui.input(texts.get(f"queue.filter_{name}"), value=parameters.get(name, "")).props(
                    "dense outlined debounce=400 inputmode=decimal"
                ).classes("filter-short").on_value_change(partial(self._change, name))
            since = {name: texts.get(f"queue.since_{name}") for name in ("yesterday", "week")}
            self._select("since", since)
            if run := parameters.get("run"):
                self._select("run", {run: run})
            ui.button(texts.get("queue.clear"), on_click=self._clear).props("flat dense")

    def _select(
        self, name: str, options: dict[str, str], value: Any = None, *, many: bool = False
    ) -> ui.select:
        parameters = self.queue.visit.parameters
        value = value if many else parameters.get(name)
        if value and not many and value not in options:
            options = {**options, value: value}
        select = ui.select(
            options,
            value=value,
            multiple=many,
            label=self.queue.visit.texts.get(f"queue.filter_{name}"),
            clearable=True,
        )
        select.props("dense outlined options-dense").on_value_change(partial(self._change, name))
        return select

    @staticmethod
    def _offer(select: ui.select, options: dict[str, str]) -> None:
        """Give a field its options; the chosen one stays, also where it is not among them."""
        if select.value and select.value not in options:
            options = {**options, select.value: select.value}
        select.set_options(options)

    def _change(self, name: str, event: ValueChangeEventArguments) -> None:
        value = event.value
        if isinstance(value, list):
            value = ",".join(value)
        self.queue.filter_by(name, value or None)

    def _clear(self) -> None:
        visit = self.queue.visit
        left_out = (*FILTERS, "view")
        query = urlencode({k: v for k, v in visit.parameters.items() if k not in left_out})
        ui.navigate.to(f"/queue?{query}" if query else "/queue")


def _list_categories(counts: dict[str, int]) -> dict[str, str]:
    """Return the categories with those above them, each with how many suggestions it has."""
    totals: dict[str, int] = {}
    for category, count in counts.items():
        levels = category.split(" > ")
        for depth in range(1, len(levels) + 1):
            name = " > ".join(levels[:depth])
            totals[name] = totals.get(name, 0) + count
    return {name: f"{name} ({count})" for name, count in sorted(totals.items()) if name}
