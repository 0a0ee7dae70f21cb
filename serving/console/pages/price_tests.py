"""Price tests: which need something now, which run, and what did they measure? A list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from nicegui import ui

from experiments.designs.price_test import PriceTest
from features.prices.stored_tests import CANCELLED, DRAFT, FINISHED, PLANNING, StoredTest
from serving.catalogue.service import CatalogueItem
from serving.console.frame import Console, Page
from serving.console.pages.price_test_plan import PlanPage
from serving.console.pages.price_test_view import PriceTestPage
from serving.console.pages.price_test_words import (
    SCOPE,
    find_state,
    list_items,
    name_test,
    show_state,
    write_estimate,
    write_step,
)
from serving.console.parts import Column, show_heading, show_table
from serving.console.section import Section, show_empty
from serving.price_desk.price_test_batches import NextStep, find_next_step

_CLOSED = (FINISHED, CANCELLED)


def add_pages(console: Console) -> None:
    """Add the list of price tests, the form of a plan, and the page of one test."""

    @console.page("/tests", "tests")
    def list_tests(page: Page) -> None:
        _TestList(page).build()

    @console.page("/tests/plan", "tests", SCOPE)
    def plan_tests(page: Page) -> None:
        PlanPage(page).build()

    @console.page("/tests/{test_id}", "tests")
    def show_test(page: Page) -> None:
        PriceTestPage(page, page.visit.parameters.pop("test_id")).build()


@dataclass(frozen=True)
class _Row:
    """A test as a row shows it; `state` as pages name it."""

    stored: StoredTest
    state: str
    name: str
    next_step: NextStep | None

    @property
    def is_due(self) -> bool:
        """Whether somebody should do something now."""
        return self.next_step is not None and self.next_step.is_due

    @property
    def order(self) -> tuple[int, datetime]:
        """What is due first, then what runs, both by the time of their next step."""
        assert self.next_step is not None  # noqa: S101 (of open tests only)
        return (0 if self.is_due else 1, self.next_step.at)


@dataclass(frozen=True)
class _Shown:
    """The tests, and the plans that nobody has kept yet."""

    rows: Sequence[_Row]
    plans: Sequence[_Row]


class _TestList:
    """The list as one person has it open."""

    def __init__(self, page: Page) -> None:
        self._page, self._visit = page, page.visit

    def build(self) -> None:
        """Build the way to a new plan, and the list."""
        visit = self._visit
        if visit.may(SCOPE):
            with self._page.actions:
                ui.link(visit.texts.get("tests.plan"), "/tests/plan").classes("link-button")
        self._section = Section(visit, self._read, self._show)

    def _read(self) -> _Shown:
        service = self._visit.server.price_tests
        plans: list[StoredTest] = []
        if self._visit.may(SCOPE):
            drafts = [plan for plan in service.list(state=DRAFT) if list_items(plan)]
            plans = [*service.list(state=PLANNING), *drafts]
        return _Shown(self._build_rows(service.list()), self._build_rows(plans))

    def _build_rows(self, tests: Sequence[StoredTest]) -> list[_Row]:
        server = self._visit.server
        now, timezone = server.clock.now(), server.settings.timezone
        items = {test.test_id: list_items(test) for test in tests}
        names: Mapping[str, CatalogueItem] = server.catalogue.find(
            {item_id for of_test in items.values() for item_id in of_test}
        )
        return [
            _Row(
                test,
                find_state(test, now),
                name_test(self._visit, items[test.test_id], names),
                find_next_step(test, now, timezone),
            )
            for test in tests
        ]

    def _show(self, shown: _Shown) -> None:
        texts, rows = self._visit.texts, shown.rows
        if shown.plans:
            self._show_plans(shown.plans)
        if not rows:
            self._page.set_title(texts.get("tests.title_none"))
            show_empty(
                texts.get("tests.empty"),
                texts.get("tests.empty_text"),
                "shopwright prices tests --plan --save",
            )
            return
        is_open = [row for row in rows if row.state not in _CLOSED]
        n_due = sum(row.is_due for row in is_open)
        key = "tests.title_due" if n_due else "tests.title" if is_open else "tests.title_closed"
        self._page.set_title(texts.get(key, n=n_due or len(is_open)))
        open_rows = sorted(is_open, key=lambda row: row.order)
        closed_rows = [row for row in rows if row.state in _CLOSED]
        for key, members in (("tests.open", open_rows), ("tests.closed", closed_rows)):
            if members:
                show_heading(texts.get(key))
                show_table(members, self._list_columns(key), caption=texts.get(key))

    def _show_plans(self, plans: Sequence[_Row]) -> None:
        """Show the plans that wait for somebody to keep them, or are being computed."""
        texts = self._visit.texts
        with ui.element("div").classes("notice").props("role=note"):
            ui.label(texts.get("tests.plans"))
            for plan in plans:
                name = plan.name or texts.get("tests.is_computed")
                link = f"/tests/plan?plan={plan.stored.test_id}"
                ui.link(f"{name} · {', '.join(plan.stored.zones)}", link)

    def _list_columns(self, key: str) -> list[Column]:
        visit, texts = self._visit, self._visit.texts

        def show_name(row: _Row) -> None:
            ui.link(row.name, f"/tests/{row.stored.test_id}").classes("strong")
            ui.label(row.stored.test_id).classes("muted")

        def add_state(row: _Row) -> None:
            show_state(visit, row.state)

        def show_next(row: _Row) -> None:
            test = PriceTest.from_document(row.stored.document["test"])
            ui.label(write_step(visit, test, row.next_step)).classes("wrap")
            if row.is_due:
                ui.label(texts.get("tests.due")).classes("badge warn")

        def write_result(row: _Row) -> str:
            result = row.stored.document.get("result")
            if result is None:
                return "–"
            return write_estimate(visit, result["common"])

        def write_amount(name: str, row: _Row) -> str:
            currency = visit.server.settings.zone(row.stored.zone).currency
            amount = row.stored.document["plan"][name]
            if amount is None:
                return "–"
            return texts.whole_money(amount, currency, signed=name == "net")

        last = Column(texts.get("tests.next"), show_next)
        if key == "tests.closed":
            hint = texts.get("tests.elasticity_hint")
            last = Column(texts.get("tests.elasticity"), write_result, hint=hint)
        return [
            Column(texts.get("tests.test"), show_name),
            Column(texts.get("tests.state"), add_state),
            Column(
                texts.get("tests.design"),
                lambda row: texts.get(f"tests.design_{row.stored.design}"),
            ),
            Column(texts.get("frame.zone"), lambda row: ", ".join(row.stored.zones)),
            last,
            Column(
                texts.get("tests.items"),
                lambda row: texts.number(row.stored.document["plan"]["n_items"]),
                is_number=True,
            ),
            Column(
                texts.get("tests.weeks"),
                lambda row: texts.number(row.stored.document["plan"]["weeks"]),
                is_number=True,
            ),
            *(
                Column(
                    texts.get(f"tests.{name}"),
                    partial(write_amount, name),
                    is_number=True,
                    hint=texts.get(f"tests.{name}_hint"),
                )
                for name in ("value", "cost", "net")
            ),
        ]
